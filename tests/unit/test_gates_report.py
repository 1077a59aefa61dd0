"""The gate report: what it says, what it never does, and that it can be read."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zicht.gates.report
from zicht.gates.model import JSON, CheckResult, GateResult, Severity
from zicht.gates.report import (
    TEXT_WIDTH,
    grouped,
    render_report,
    render_text,
    seen,
    text_width,
    visible,
)

CHECKED_AT = datetime(2025, 4, 30, 9, 0, tzinfo=UTC)
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'>{{ 7*7 }}\x1b[31m\u202e&amp;"
VOID = {"meta", "link", "img", "br", "hr", "input"}


def finding(
    *,
    check: str = "a_check",
    relation: str = "mart_a",
    suite: str = "a suite",
    description: str = "A rule.",
    success: bool = False,
    severity: Severity = Severity.FAIL,
    observed: JSON = None,
    n_unexpected: int | None = None,
    rows: tuple[dict[str, JSON], ...] = (),
    remedy: str = "Do something.",
    error: str | None = None,
) -> CheckResult:
    return CheckResult(
        suite, relation, check, description, severity, success, remedy, observed, n_unexpected,
        rows, error,
    )  # fmt: skip


def gate(*results: CheckResult, number: int = 3, subject: str = "a run") -> GateResult:
    return GateResult(gate=number, subject=subject, checked_at=CHECKED_AT, results=results)


class Page(HTMLParser):
    """Reads a page strictly enough to see what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(*results: GateResult, title: str = "A run", **context: str) -> Page:
    parsed = Page(render_report(title, results, context))
    assert parsed.open == []
    return parsed


def test_the_summary_comes_first_and_says_what_stopped() -> None:
    text = page(
        gate(finding(success=True, check="fine"), number=2),
        gate(
            finding(check="late", severity=Severity.WARN, description="Not late."),
            finding(check="wrong", description="Not wrong."),
        ),
        as_of="2025-04-30",
    ).text
    assert text.index("Stopped at gate 3.") < text.index("What needs attention")
    assert text.index("1 failed 1 warned 1 passed") < text.index("What needs attention")
    assert text.index("as_of 2025-04-30") < text.index("What needs attention")
    attention = text[text.index("What needs attention") : text.index("Looked at")]
    assert attention.index("Not wrong.") < attention.index("Not late.")


@pytest.mark.parametrize(
    ("results", "headline"),
    [
        ([], "Nothing was checked."),
        ([gate()], "Nothing was checked."),
        ([gate(finding(success=True))], "Passed."),
        ([gate(finding(severity=Severity.WARN))], "Passed, with warnings."),
        ([gate(finding(severity=Severity.WARN, error="no"))], "Stopped at gate 3."),
        ([gate(finding(), number=1), gate(finding()), gate(finding())], "gate 1 and gate 3."),
    ],
)
def test_the_headline(results: list[GateResult], headline: str) -> None:
    assert headline in page(*results).text


def test_a_finding_shows_rows_count_place_and_remedy() -> None:
    rows = tuple({"region_code": f"GM{n:04}", "value": n / 2, "note": None} for n in range(20))
    parsed = page(
        gate(finding(n_unexpected=12345, observed=12345, rows=rows, remedy="Ask the provider."))
    )
    assert "12\u202f345 rows break" in " ".join(parsed.words)
    for expected in ("20 of them:", "GM0019", "9.5", "null", "mart_a", "Ask the provider."):
        assert expected in parsed.text
    header = [attributes for tag, attributes in parsed.tags if tag == "th"]
    assert sum(a.get("class") == "n" for a in header) == 1 + 3  # the sample's, the overview's
    assert "Observed" not in parsed.text


def test_a_check_that_could_not_be_evaluated_says_why() -> None:
    text = page(gate(finding(error="Binder Error: no column x", severity=Severity.WARN))).text
    assert "could not be evaluated" in text
    assert "Binder Error: no column x" in text
    assert "Error A rule." in text.replace("? ", "")


def test_what_held_is_said_once_for_all_relations() -> None:
    held = [
        finding(success=True, relation=f"mart_{letter}", observed=342, description="All there.")
        for letter in "abc"
    ]
    text = page(gate(*held)).text
    assert text.count("All there.") == 1
    assert "mart_a 342 mart_b 342 mart_c 342" in text


def test_every_link_leads_somewhere_and_every_name_is_used_once() -> None:
    parsed = page(gate(finding(), number=1), gate(finding(), finding(severity=Severity.WARN)))
    anchors = [a["id"] for _, a in parsed.tags if a.get("id")]
    links = [str(a["href"]) for tag, a in parsed.tags if tag == "a"]
    assert len(links) == 3
    assert len(anchors) == len(set(anchors))
    assert {link.removeprefix("#") for link in links} <= set(anchors)
    labels = {str(a["aria-labelledby"]) for _, a in parsed.tags if a.get("aria-labelledby")}
    assert labels <= set(anchors)


def test_the_page_is_whole_in_itself() -> None:
    html = render_report("A run", [gate(finding(rows=({"a": 1},)))], {})
    parsed = Page(html)
    assert html.startswith("<!doctype html>\n<html lang=")
    assert html.endswith("</html>\n")
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not re.search(r"url\(|@import|https?:|javascript:", html)
    attributes = {name for _, names in parsed.tags for name in names}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"src"})
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def everywhere(text: str) -> list[GateResult]:
    """Results that have ``text`` in every place that data or a suite can reach."""
    fill = {"check": text, "relation": text, "suite": text, "description": text, "remedy": text}
    return [
        gate(
            finding(**fill, n_unexpected=2, rows=({text: text, "n": 1}, {text: [text]})),
            finding(**fill, observed={"value": text, "details": {text: [text]}}),
            finding(**fill, error=text, severity=Severity.WARN),
            finding(**fill, severity=Severity.WARN, n_unexpected=1),
            finding(**fill, success=True, observed=text),
            subject=text,
        )
    ]


def test_hostile_text_is_shown_and_does_nothing() -> None:
    html = render_report(HOSTILE, everywhere(HOSTILE), {HOSTILE: HOSTILE})
    harmless = render_report("x", everywhere("x"), {"x": "x"})
    assert [t for t, _ in Page(html).tags] == [t for t, _ in Page(harmless).tags]
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert Page(html).text.count("{{ 7*7 }}\\u{1b}[31m\\u{202e}&amp;") > 20


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1))
def test_any_text_leaves_the_page_and_the_lines_whole(text: str) -> None:
    parsed = Page(render_report(text, everywhere(text), {text: text}))
    assert parsed.open == []
    assert [t for t, _ in parsed.tags] == [
        t for t, _ in Page(render_report("x", everywhere("x"), {"x": "x"})).tags
    ]
    printed = render_text(everywhere(text))
    assert all(text_width(line) <= TEXT_WIDTH for line in printed.split("\n"))
    assert "\x1b" not in printed


def test_equal_results_give_equal_pages() -> None:
    results = everywhere("x")
    again = [GateResult.loads(result.dumps()) for result in results]
    assert render_report("a", results, {"b": "c"}) == render_report("a", again, {"b": "c"})
    assert render_text(results) == render_text(again)


def test_the_text_report_reads_well() -> None:
    rows = tuple({"region_code": f"GM{n:04}", "value": n} for n in range(8))
    wide = {f"column_{n:02}": "字" * 30 for n in range(9)}
    printed = render_text(
        [
            gate(finding(success=True), number=2),
            gate(
                finding(severity=Severity.WARN, n_unexpected=1, rows=(wide,), remedy=""),
                finding(n_unexpected=8, rows=rows),
                finding(check="other", observed=3),
                finding(check="broken", error="Parser Error", severity=Severity.WARN),
            ),
        ]
    )
    lines = printed.split("\n")
    assert lines[:8] == [
        "FAIL  gate 3 · mart_a · a suite · a_check",
        "      A rule.",
        "      Breaks the rule: 8; the first 5",
        "        region_code  value",
        "        GM0000       0",
        "        GM0001       1",
        "        GM0002       2",
        "        GM0003       3",
    ]
    assert lines[-3:] == [
        "PASSED  gate 2  a run: 1 checks, 0 failed, 0 warned",
        "FAILED  gate 3  a run: 4 checks, 3 failed, 1 warned",
        "",
    ]
    assert "      Observed: 3" in lines
    assert "      Could not be evaluated: Parser Error" in lines
    assert any(line.startswith("ERROR gate 3") for line in lines)
    assert "        Not shown: column_02, column_03, column_04," in printed
    assert max(map(text_width, lines)) <= TEXT_WIDTH
    assert render_text([]) == "Nothing was checked.\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (-1.5, "-1.5"),
        ("Súdwest-Fryslân", "Súdwest-Fryslân"),
        ("a\nb\tc\x00", "a\\u{a}b\\u{9}c\\u{0}"),
        ("\u2028\u200b\ufeff", "\\u{2028}\\u{200b}\\u{feff}"),
        (["é", {"a": None}], '["é", {"a": null}]'),
    ],
)
def test_every_character_can_be_seen(value: JSON, shown: str) -> None:
    assert visible(value) == shown


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("字a", 3), ("e\u0301", 1), ("ＡＢ", 4), ("", 0)]
)
def test_a_wide_character_takes_two_columns(text: str, width: int) -> None:
    assert text_width(text) == width


def test_details_are_said_briefly() -> None:
    mismatched = {"unexpected": ["a", "b"], "missing": ["c"]}
    assert seen({"value": [], "details": {"mismatched": mismatched}}) == (
        "unexpected: a, b; missing: c"
    )
    assert seen({"value": 3, "details": {"limit": 2}}) == "limit: 2"
    assert seen({"value": 3, "details": "odd"}) == "odd"
    assert seen({"value": 3}) == {"value": 3}
    assert grouped(1234567) == "1\u202f234\u202f567"


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(scheme: int) -> None:
    css = Path(zicht.gates.report.__file__).parent / "templates" / "report.css"
    block = re.findall(r":root \{(.*?)\}", css.read_text(encoding="utf-8"), flags=re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", block))
    colours = {k: "#" + v[1:] * 2 if len(v) == 4 else v for k, v in colours.items()}
    grounds = ("ground", "sheet", "stripe")
    pairs = [(ink, on) for ink in ("ink", "soft", "link", "code") for on in grounds]
    pairs += [(tone, f"{tone}-ground") for tone in ("bad", "warn", "good")]
    pairs += [("ink", f"{tone}-ground") for tone in ("bad", "warn", "good")]
    pairs += [("good", "sheet"), ("code", "ground")]
    low = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in low.items() if ratio < 4.5} == {}
