"""The command ``image``: container images of this project's Bentos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from management.cli._options import json_option, known_settings
from management.cli.bentos._batches import (
    Make,
    Report,
    make_each,
    refuse_failed,
    report_failure,
    select,
    show_rows,
)
from management.cli.errors import Failed

if TYPE_CHECKING:
    from management.domain.bento_tag import Tag
    from management.packaging.build import BentoHome, Recipe


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--version", help="Version to build instead of those in the build files.")
@click.option("--again", is_flag=True, help="Make them even if up to date: after a docker pull of a newer base image.")
@click.option("--push", "registry", metavar="REGISTRY", help="Send them to REGISTRY, where nodes pull them.")
@json_option
def image(names: tuple[str, ...], version: str | None, registry: str | None, *, again: bool) -> None:
    r"""Make container images of all of this project's Bentos, or of the named ones, as atelier/NAME:VERSION.

    A Bento that is not up to date is built first. An image whose Bento has not changed is not made again. With --push,
    each is sent as REGISTRY/atelier/NAME:VERSION, with the credentials of docker login.

    \b
    python -m management image
    python -m management image tcm-diagnosis --version 2.2.0
    python -m management image atelier --push registry:5000/team
    """
    from management.packaging.build import BentoHome, BuildError
    from management.packaging.images import ImageError, require_engine

    store = BentoHome(known_settings().storage.bentoml_home)
    try:
        selection = select(names, version)
        require_engine()
        rows = make_each(selection, _image_maker(store, registry, again))
    except (BuildError, ImageError, OSError) as error:
        raise Failed(str(error)) from None
    show_rows(rows, "IMAGE", "SIZE", "STATE")
    refuse_failed(rows, "not all images were made")


def _image_maker(store: BentoHome, registry: str | None, again: bool) -> Make:
    from management.packaging import build as packaging
    from management.packaging import images

    def make(recipe: Recipe, tag: Tag, report: Report) -> dict[str, Any]:
        name, size = images.name_of(tag), None
        try:
            packaging.build(recipe, tag, store)
            result, made = images.make(store, tag, name, lambda step: report(f"{tag} {step}"), again=again)
            size, state = result.size, "made" if made else "up to date"
            if registry is not None:
                report(f"{tag} pushing")
                name = images.push(name, registry)
                state = f"{state}, pushed"
        except (packaging.BuildError, images.ImageError, OSError) as error:
            state = report_failure(error)
        return {"image": name, "size_bytes": size, "state": state}

    return make
