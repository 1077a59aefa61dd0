"""``zicht attack``: computes what published tables give away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

FOUND = 14
"""Exit status when the tables give something away; errors have others."""


def _pairs(text: str) -> dict[str, str]:
    from zicht.errors import UsageError

    parts = [part.partition("=") for part in text.split(",")]
    if not all(name and sign for name, sign, _ in parts):
        raise UsageError(
            f"{text!r} is no cell.",
            code="Z-ATT-020",
            remedy="Name its codes, as in mun=GM0363,cat=C1; a total may be left out.",
        )
    return {name.strip(): code.strip() for name, _, code in parts}


def attack(
    files: Annotated[
        list[Path],
        typer.Argument(help="Published tables: the newest one first, then earlier ones."),
    ],
    spec: Annotated[Path, typer.Option(help="The spec that they were protected with.")],
    report: Annotated[Path, typer.Option(help="Where the report goes, as JSON.")],
    linked: Annotated[
        list[Path] | None, typer.Option(help="A table of the same facts as the newest one.")
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(help="Which code lies in which; the file beside each table if omitted."),
    ] = None,
    knowledge: Annotated[
        str | None,
        typer.Option(help="naive, informed, flags or participant; as the spec says if omitted."),
    ] = None,
    flags: Annotated[
        Path | None, typer.Option(help="Which hidden cells are primary (CSV or Parquet).")
    ] = None,
    participant: Annotated[
        str | None, typer.Option(help="The cell of a contributor: mun=GM0363,cat=C1.")
    ] = None,
    participant_value: Annotated[float, typer.Option(help="What he contributes.")] = 1.0,
    rates: Annotated[
        Path | None, typer.Option(help="Published rates: cell, rate, denominator (CSV, Parquet).")
    ] = None,
    hidden_counts: Annotated[
        Path | None, typer.Option(help="Published remarks on hidden cells: n_primary, total.")
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="The whole interval of every hidden cell.")
    ] = False,
    canaries: Annotated[
        Path | None, typer.Option(help="Values that may be in no published byte, one a line.")
    ] = None,
    search: Annotated[
        list[Path] | None, typer.Option(help="More files or folders to search for canaries.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this long.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes to use.")] = 2,
) -> None:
    """Computes what published tables give away, alone and together.

    Exit status 0: nothing that breaks the promise; 14: something was found.

    Example: zicht attack protected.csv --spec spec.yaml --report report.json
    """
    from zicht.attacker import (
        Knowledge,
        Participant,
        attack,
        canary_findings,
        load_spec,
        read_tables,
        render,
        search_canaries,
    )
    from zicht.attacker.canaries import read_canaries
    from zicht.attacker.published import structure_path
    from zicht.attacker.sidefiles import read_flags, read_hidden_counts, read_rates
    from zicht.cli.outputs import check_outputs
    from zicht.errors import UsageError
    from zicht.files import write_json

    if knowledge is not None and knowledge not in list(Knowledge):
        raise UsageError(
            f"there is no knowledge {knowledge!r}.",
            code="Z-ATT-020",
            remedy=f"Choose one of: {', '.join(Knowledge)}.",
        )
    rules = load_spec(spec)
    read = [*files, *(linked or []), *(search or [])]
    sides = [structure, flags, rates, hidden_counts, canaries, rules.successors_file]
    beside = [structure_path(one) for one in read if one.name]
    given = [spec, *read, *beside, *(one for one in sides if one is not None)]
    check_outputs([report], given, code="Z-ATT-020")
    newest = str(files[0])
    earlier = rules
    if rules.earlier_rounding is not None:
        base, mode = rules.earlier_rounding
        earlier = replace(rules, rounding_base=base, rounding_mode=mode)
    tables = [
        table
        for path, vintage, own in [
            (files[0], newest, rules),
            *((path, newest, rules) for path in linked or []),
            *((path, str(path), earlier) for path in files[1:]),
        ]
        for table in read_tables(path, own, structure=structure, vintage=vintage)
    ]
    found = attack(
        tables,
        knowledge=Knowledge(knowledge or rules.attacker),
        processes=processes,
        seconds=seconds,
        intervals=intervals,
        primary=read_flags(flags, rules) if flags else None,
        participant=Participant(_pairs(participant), participant_value) if participant else None,
        rates=read_rates(rates, tables[0]) if rates else (),
        hidden_counts=read_hidden_counts(hidden_counts, rules) if hidden_counts else (),
    )
    if canaries is not None:
        searched = [*files, *(linked or []), *(search or [])]
        hits = search_canaries(searched, read_canaries(canaries))
        found = found.with_findings(canary_findings(hits))
    write_json(report, found.to_json())
    typer.echo(render(found), nl=False)
    typer.echo(f"report: {report}")
    if not found.is_safe:
        raise typer.Exit(FOUND)
