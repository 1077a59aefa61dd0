"""Disclosure policies: what protection a kind of output gets, each number with its basis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from zicht.disclosure.spec import spec_of
from zicht.errors import ConfigurationError, DisclosureError


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
        rounding_base: base to which counts are rounded; None for none.
        region_levels: levels that may be published.
        basis: where each number comes from.
        text: what readers are told, per language.
        protection: further keys of the policy of a table, see ``docs/reference/disclosure.md``.
    """

    id: str
    kinds: frozenset[Kind]
    method: Method
    minimum_frequency: int | None
    rounding_base: float | None
    region_levels: tuple[str, ...]
    basis: str
    text: Mapping[str, str]
    protection: Mapping[str, Any] = field(default_factory=dict)

    def for_tables(self, kind: Kind) -> dict[str, Any]:
        """The policy of a table of a kind of output, as a spec states it.

        The rules for income look at single contributions, which only magnitudes have.

        Raises:
            DisclosureError: Z-DIS-002 for public figures, which are protected already.
        """
        if self.method is Method.AS_PUBLISHED:
            raise DisclosureError(
                f"policy {self.id} protects nothing: it passes figures as published.",
                code="Z-DIS-002",
                remedy="Give the indicator a policy with the method suppress or round.",
            )
        document: dict[str, Any] = {"method": self.method.value, **self.protection}
        if kind is not Kind.MAGNITUDES:
            document.pop("income", None)
        if self.minimum_frequency is not None:
            document["minimum_frequency"] = self.minimum_frequency
        if self.rounding_base is not None:
            document["rounding"] = {
                "base": int(self.rounding_base),
                **(self.protection.get("rounding") or {}),
            }
        return document

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
            protection=dict(document.get("protection") or {}),
        )
        if policy.kinds & {Kind.COUNTS, Kind.RATES}:
            # Wrong keys are told when the project is read, not when a release is made.
            own = policy.for_tables(Kind.COUNTS)
            spec_of({"dimensions": {"any": {}}, "count": "n", "policy": own}, name=str(path))
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
