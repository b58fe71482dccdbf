"""The commands ``build`` and ``image``: this project's Bentos, and the container images of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from management.cli.common import Failed, as_json, aside, cell, clean, json_option, known_settings, out, show_json
from management.cli.models.views import show, table

if TYPE_CHECKING:
    from management.domain.bento_tag import (
        Tag,
    )
    from management.packaging.build import (
        BentoHome,
        Recipe,
    )

Wanted = list[tuple["Recipe", "Tag"]]
Tell = Callable[[str], None]
STYLES: Final = {"built": "green", "made": "green", "up to date": "green", "failed": "bold red", "outdated": "yellow"}
LONGEST_STEP: Final = 40  # characters of what a progress line says


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--version", help="Another version than those that the build files name.")
@click.option("--list", "listing", is_flag=True, help="Show what there is to build, and what is built.")
@json_option
def build(names: tuple[str, ...], version: str | None, *, listing: bool) -> None:
    r"""Build this project's Bentos into the Bento store, all of them or those named. What is up to date is left alone.

    \b
    python -m management build
    python -m management build tcm-diagnosis --version 2.2.0
    """
    from management.packaging.build import (
        BentoHome,
        BuildError,
    )

    store = BentoHome(known_settings().bentoml_home)
    try:
        wanted = _wanted(names, version)
        told = [_state(store, *one) for one in wanted] if listing else _each(wanted, _building(store))
    except (BuildError, OSError) as error:
        raise Failed(str(error)) from None
    _show(told, "BENTO", "VERSION", "STATE")
    _refuse_failed(told, "not every Bento is built")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--version", help="Another version than those that the build files name.")
@click.option("--again", is_flag=True, help="Make them even if up to date: after a docker pull of a newer base image.")
@json_option
def image(names: tuple[str, ...], version: str | None, *, again: bool) -> None:
    r"""Make container images of this project's Bentos, all of them or those named, as atelier/NAME:VERSION.

    A Bento that is not up to date is built before. An image whose Bento has not changed is left alone.

    \b
    python -m management image
    python -m management image tcm-diagnosis --version 2.2.0
    """
    from management.packaging.build import (
        BentoHome,
        BuildError,
    )
    from management.packaging.images import ImageError, require_engine

    store = BentoHome(known_settings().bentoml_home)
    try:
        wanted = _wanted(names, version)
        require_engine()
        told = _each(wanted, _imaging(store, again))
    except (BuildError, ImageError, OSError) as error:
        raise Failed(str(error)) from None
    _show(told, "IMAGE", "SIZE", "STATE")
    _refuse_failed(told, "not every image is made")


def _wanted(names: tuple[str, ...], version: str | None) -> Wanted:
    from management.domain.bento_tag import (
        tag_of,
    )
    from management.packaging.build import recipes

    known = {one.name: one for one in recipes()}
    if unknown := [one for one in names if one not in known]:
        own = f"a Bento of your own is built in its folder: BENTOML_HOME={known_settings().bentoml_home} bentoml build"
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}; {own}", param_hint="NAME")
    if version is not None:
        if not names:
            raise click.UsageError("--version needs a NAME")
        try:
            version = tag_of(f"{names[0]}:{version}").version
        except ValueError:
            raise click.BadParameter("such as 2.2.0", param_hint="--version") from None
    return [(known[name], tag) for name in names or known for tag in known[name].tags(version)]


def _state(store: BentoHome, recipe: Recipe, tag: Tag) -> dict[str, Any]:
    from management.packaging.build import digest

    found = store.digest(tag)
    there = (store.folder(tag) / "bento.yaml").is_file()
    state = "built" if found == digest(recipe, tag, store) else "outdated" if there else "not built"
    return {"name": tag.name, "version": tag.version, "state": state}


def _each(wanted: Wanted, make: Callable[[Recipe, Tag, Tell], dict[str, Any]]) -> list[dict[str, Any]]:
    """Makes each, and goes on where one cannot be made."""
    told = []
    with _progress(len(wanted)) as (tell, advance):
        for recipe, tag in wanted:
            tell(str(tag))
            told.append(make(recipe, tag, tell))
            advance()
    return told


@contextmanager
def _progress(total: int) -> Iterator[tuple[Tell, Callable[[], None]]]:
    """What says what is being done, and what says that one more is: in a terminal alone, and not beside JSON."""
    console = aside()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(20), MofNCompleteColumn())
    disable = as_json() or not console.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=disable) as progress:
        task = progress.add_task("", total=total)
        yield (
            lambda text: progress.update(task, description=clean(text)[:LONGEST_STEP]),
            lambda: progress.advance(task),
        )


def _building(store: BentoHome) -> Callable[[Recipe, Tag, Tell], dict[str, Any]]:
    from management.packaging.build import BuildError
    from management.packaging.build import build as build_one

    def make(recipe: Recipe, tag: Tag, _: Tell) -> dict[str, Any]:
        try:
            state = "built" if build_one(recipe, tag, store) else "up to date"
        except (BuildError, OSError) as error:
            state = _failed(error)
        return {"name": tag.name, "version": tag.version, "state": state}

    return make


def _imaging(store: BentoHome, again: bool) -> Callable[[Recipe, Tag, Tell], dict[str, Any]]:
    from management.packaging import images
    from management.packaging.build import BuildError
    from management.packaging.build import build as build_one

    def make(recipe: Recipe, tag: Tag, tell: Tell) -> dict[str, Any]:
        name, size = images.name_of(tag), None
        try:
            build_one(recipe, tag, store)
            found, made = images.make(store, tag, name, lambda step: tell(f"{tag} {step}"), again=again)
            size, state = found.size, "made" if made else "up to date"
        except (BuildError, images.ImageError, OSError) as error:
            state = _failed(error)
        return {"image": name, "size_bytes": size, "state": state}

    return make


def _failed(error: Exception) -> str:
    """Says why on stderr; the state of what cannot be made."""
    console = aside()
    for line in str(error).splitlines():
        console.print(clean(line), style="red")
    return "failed"


def _refuse_failed(told: list[dict[str, Any]], message: str) -> None:
    if any(one["state"] == "failed" for one in told):
        raise Failed(message)


def _show(told: list[dict[str, Any]], *headings: str) -> None:
    if as_json():
        show_json(told)
        return
    made = table(*headings)
    for one in told:
        name, fact, state = one.values()
        made.add_row(cell(name), cell(_size(fact)), cell(state, STYLES.get(state, "")))
    show(out(), made)


def _size(fact: Any) -> Any:
    return f"{fact / 1e6:.0f} MB" if isinstance(fact, int) else fact
