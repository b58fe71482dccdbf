"""Where a replica's Pod may run: from the settings, and from labels of its deployment that override them.

kubernetes.node-selector      disk=ssd,zone=a
kubernetes.tolerations        gpu:NoSchedule,team=vision:NoExecute
kubernetes.spread             topology.kubernetes.io/zone
kubernetes.pull-secrets       registry
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NODE_SELECTOR: Final = "kubernetes.node-selector"
TOLERATIONS: Final = "kubernetes.tolerations"
SPREAD: Final = "kubernetes.spread"
PULL_SECRETS: Final = "kubernetes.pull-secrets"
OVERRIDES: Final = (NODE_SELECTOR, TOLERATIONS, SPREAD, PULL_SECRETS)
"""Labels of a deployment that override a setting."""
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
"""Effects of a taint."""
_KEY: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?\Z")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


@dataclass(frozen=True)
class Placement:
    """Where a Pod may run, in the fields of its specification."""

    node_selector: dict[str, str]
    tolerations: list[dict[str, Any]]
    spread: list[str]
    """Labels of nodes over whose values the replicas of a model are spread."""
    pull_secrets: list[str]


def placement(defaults: Mapping[str, str], labels: Mapping[str, str]) -> Placement:
    """Return the placement of a deployment with these labels; ``defaults`` are texts by the labels' names.

    Raises ValueError, which names the label, for a text that cannot be read.
    """
    text = {name: labels.get(name, defaults.get(name, "")) for name in OVERRIDES}
    return Placement(
        _read(NODE_SELECTOR, node_selector, text),
        _read(TOLERATIONS, tolerations, text),
        _read(SPREAD, topology_keys, text),
        _read(PULL_SECRETS, names, text),
    )


def _read(name: str, read: Any, text: Mapping[str, str]) -> Any:
    try:
        return read(text[name])
    except ValueError as error:
        raise ValueError(f"label {name!r} {error}") from None


def node_selector(text: str) -> dict[str, str]:
    """Return the labels of nodes in ``a=b,c=d``. Raises ValueError."""
    return dict(_label(part) for part in _parts(text))


def tolerations(text: str) -> list[dict[str, Any]]:
    """Return the tolerations in ``key``, ``key:Effect`` and ``key=value:Effect``. Raises ValueError."""
    return [_toleration(part) for part in _parts(text)]


def topology_keys(text: str) -> list[str]:
    """Return the keys of node labels in ``a,b``. Raises ValueError."""
    return [_matching(_KEY, part, "the key of a label") for part in _parts(text)]


def names(text: str) -> list[str]:
    """Return the names of objects in ``a,b``. Raises ValueError."""
    return [_matching(_NAME, part, "the name of an object") for part in _parts(text)]


def _toleration(text: str) -> dict[str, Any]:
    taint, has_effect, effect = text.partition(":")
    if has_effect and effect not in EFFECTS:
        raise ValueError(f"has the effect {effect!r}, which is none of {', '.join(EFFECTS)}")
    if "=" in taint:
        key, value = _label(taint)
        toleration = {"key": key, "operator": "Equal", "value": value}
    else:
        toleration = {"key": _matching(_KEY, taint, "the key of a taint"), "operator": "Exists"}
    return {**toleration, "effect": effect} if has_effect else toleration


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"has {text!r}, which is not KEY=VALUE")
    return _matching(_KEY, key, "the key of a label"), _matching(_VALUE, value, "the value of a label")


def _matching(form: re.Pattern[str], text: str, meaning: str) -> str:
    if not form.match(text):
        raise ValueError(f"has {text!r}, which is not {meaning}")
    return text


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
