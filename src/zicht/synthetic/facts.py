"""The public figures that the made-up country is modelled on, and the sizes of what is planted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files

import yaml

GROWTH_FROM = date(2017, 1, 1)
"""Where foundations grow beyond explanation, they do so evenly from this day …"""
GROWTH_UNTIL = date(2026, 1, 1)
"""… until this one, when there are as many times more as the factor says."""

Value = float | int | list[float]


@cache
def facts() -> Mapping[str, Value]:
    """Per name the figure of ``facts.yaml``."""
    text = files("zicht.synthetic").joinpath("facts.yaml").read_text(encoding="utf-8")
    return {name: entry["value"] for name, entry in yaml.safe_load(text).items()}


def figure(name: str) -> float:
    """One figure that is a single number."""
    value = facts()[name]
    if isinstance(value, list):
        raise TypeError(f"{name} is a list")
    return value
