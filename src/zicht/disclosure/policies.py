"""Disclosure policies: what protection a kind of output gets, each number with its basis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from zicht.errors import ConfigurationError


class Kind(StrEnum):
    """The five kinds of output, each with its own way through the wall."""

    PUBLIC = "public"
    COUNTS = "counts"
    MAGNITUDES = "magnitudes"
    RATES = "rates"
    MODELLED = "modelled"


class Method(StrEnum):
    """How cells are protected."""

    AS_PUBLISHED = "as_published"
    SUPPRESS = "suppress"
    ROUND = "round"


@dataclass(frozen=True)
class Policy:
    """One policy.

    Attributes:
        id: name by which indicators refer to it.
        kinds: the kinds of output that it may be used for.
        method: how cells are protected.
        minimum_frequency: smallest count that may be shown; None where it does not apply.
        rounding_base: base to which values are rounded; None for none.
        region_levels: levels that may be published.
        basis: where each number comes from.
        text: what readers are told, per language.
    """

    id: str
    kinds: frozenset[Kind]
    method: Method
    minimum_frequency: int | None
    rounding_base: float | None
    region_levels: tuple[str, ...]
    basis: str
    text: Mapping[str, str]

    def to_parameters(self) -> dict[str, Any]:
        """The numbers that gate 4 checks against."""
        return {
            "id": self.id,
            "method": self.method.value,
            "minimum_frequency": self.minimum_frequency,
            "rounding_base": self.rounding_base,
            "region_levels": list(self.region_levels),
        }


def load_policy(path: Path) -> Policy:
    """Reads one policy.

    Raises:
        ConfigurationError: Z-CFG-040 naming the file and what is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        policy = Policy(
            id=document["id"],
            kinds=frozenset(Kind(kind) for kind in document["kinds"]),
            method=Method(document["method"]),
            minimum_frequency=document.get("minimum_frequency"),
            rounding_base=document.get("rounding_base"),
            region_levels=tuple(document["region_levels"]),
            basis=document["basis"],
            text={"nl": document["text"]["nl"], "en": document["text"]["en"]},
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{path}: not a policy: {error!r}.",
            code="Z-CFG-040",
            remedy="A policy has id, kinds, method, region_levels, basis and text in nl and en.",
        ) from error
    if policy.id != path.stem:
        raise ConfigurationError(
            f"{path}: its id is {policy.id!r}.", code="Z-CFG-040", remedy="Use the file's name."
        )
    return policy


def load_policies(folder: Path) -> dict[str, Policy]:
    """All policies in ``folder`` by id."""
    policies = [load_policy(path) for path in sorted(folder.glob("*.yaml"))]
    return {policy.id: policy for policy in policies}
