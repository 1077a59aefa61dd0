"""Reads ``docker-compose.yml``, ``Dockerfile`` and ``.env.example`` the way Docker does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<op>:?[-?+])(?P<word>[^}]*))?\})"
)


class MissingVariable(Exception):
    """A ``${VAR:?message}`` without a value: compose refuses to start."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Replaces ``$VAR``, ``${VAR}``, ``${VAR:-default}`` and ``${VAR:?message}`` in all texts."""
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]
    return (
        _VARIABLE.sub(lambda m: _replace(m, variables), value) if isinstance(value, str) else value
    )


def _replace(match: re.Match[str], variables: Mapping[str, str]) -> str:
    if match["escaped"]:
        return "$"
    name = match["plain"] or match["name"]
    operator, word = match["op"] or "", match["word"] or ""
    found = variables.get(name)
    absent = found is None or (operator.startswith(":") and not found)
    if absent and operator.endswith("?"):
        raise MissingVariable(f"{name}: {word}")
    if operator.endswith("+"):
        return "" if absent else word
    if absent and operator.endswith("-"):
        return word
    return found or ""


def read_compose(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with anchors resolved and variables filled in."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return dict(interpolate(document, variables))


def read_env_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines; comments and blank lines left out."""
    pairs = (
        line.split("=", 1)
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    )
    return {name.strip(): value.strip() for name, value in pairs}


@dataclass(frozen=True)
class Image:
    """What a container gets from the last stage of a Dockerfile."""

    base: str
    environment: dict[str, str]
    workdir: str
    user: str
    copied: dict[str, str]
    """Per folder or file of the project where it lies in the image."""


def read_dockerfile(path: Path) -> Image:
    """The last stage of a Dockerfile."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    last = max(i for i, line in enumerate(lines) if line.startswith("FROM "))
    base, workdir, user = lines[last].split()[1], "/", ""
    environment: dict[str, str] = {}
    copied: dict[str, str] = {}
    for line in lines[last + 1 :]:
        keyword, rest = line.split(None, 1)
        if keyword == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif keyword == "WORKDIR":
            workdir = rest.strip()
        elif keyword == "USER":
            user = rest.strip()
        elif keyword == "COPY" and not rest.startswith("--"):
            *sources, target = rest.split()
            copied |= {source: str(Path(workdir, target)) for source in sources}
    return Image(base, environment, workdir, user, copied)
