"""The table ``themes``: what each theme is for, as its own folder says it.

A theme is a dbt group whose ``config.meta.theme`` describes it, in a file ``_theme.yml``; beside
that file lies a page of text per language. No theme is named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zicht.errors import ConfigurationError
from zicht.settings import Settings

_LANGUAGES = ("nl", "en")


def theme_rows(manifest: Mapping[str, Any], settings: Settings) -> list[dict[str, Any]]:
    """The rows of ``themes``, in the order that the themes give themselves.

    Args:
        manifest: dbt's manifest.
        settings: says where the dbt project is, which holds the pages.

    Raises:
        ConfigurationError: Z-REL-025 naming the file of a theme that does not say what it must,
            Z-REL-020 naming a page that is missing or empty.
    """
    found = [
        _row(node, declared, settings.dbt_project)
        for _, node in sorted(manifest.get("groups", {}).items())
        if isinstance(declared := _declared(node), dict)
    ]
    return sorted(found, key=lambda row: (row["position"], row["theme"]))


def _declared(group: Mapping[str, Any]) -> Any:
    return ((group.get("config") or {}).get("meta") or {}).get("theme")


def _row(group: Mapping[str, Any], declared: Mapping[str, Any], project: Path) -> dict[str, Any]:
    path = project / group["original_file_path"]
    row: dict[str, Any] = {"theme": group["name"], "position": declared.get("order")}
    if declared.get("id") != group["name"]:
        raise _unsaid(path, f"id is {declared.get('id')!r}, and the group is {group['name']!r}")
    if type(row["position"]) is not int:
        raise _unsaid(path, f"order is {row['position']!r}, not a whole number")
    for language in _LANGUAGES:
        for name in ("label", "description"):
            row[f"{name}_{language}"] = _text(path, declared, name, language)
        row[f"questions_{language}"] = _questions(path, declared, language)
        row[f"text_{language}"] = _page(path.with_name(f"_theme.{language}.md"))
    return row


def _text(path: Path, declared: Mapping[str, Any], name: str, language: str) -> str:
    texts = declared.get(name)
    text = texts.get(language) if isinstance(texts, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise _unsaid(path, f"{name} has no text in {language}")
    return " ".join(text.split())


def _questions(path: Path, declared: Mapping[str, Any], language: str) -> str:
    """The research questions, one on each line."""
    texts = declared.get("research_questions")
    questions = texts.get(language) if isinstance(texts, dict) else None
    are_texts = isinstance(questions, list) and all(
        isinstance(question, str) and question.strip() for question in questions
    )
    if not questions or not are_texts:
        raise _unsaid(path, f"research_questions has no list of questions in {language}")
    return "\n".join(" ".join(question.split()) for question in questions)


def _page(path: Path) -> str:
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if not text:
        raise ConfigurationError(
            f"{path}: the page of the theme is missing or empty.",
            code="Z-REL-020",
            remedy="Write a page of text in Markdown: what the theme is for, what its figures can "
            "and cannot say, and what a municipality can do with them.",
        )
    return text


def _unsaid(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: config.meta.theme: {what}.",
        code="Z-REL-025",
        remedy="A theme has id (the name of its group), order, and label, description and "
        "research_questions in nl and en.",
    )
