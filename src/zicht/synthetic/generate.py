"""Makes synthetic deliveries and drops them into landing, as providers would."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zicht.contracts import Contract, Table
from zicht.deliveries.package import write_delivery
from zicht.errors import UsageError
from zicht.files import write_json
from zicht.synthetic.planning import NEEDS, Scope, Wanted
from zicht.synthetic.truth import Truth
from zicht.synthetic.world import World, parts, sql
from zicht.synthetic.writing import assemble, write_fragment

Say = Callable[[str], None]
Rows = Counter[tuple[str, str, str]]
"""Number of rows per source, delivery and table."""

MISSING_SHARE = 0.02
"""Of a delivery that does not know everything yet."""


@dataclass(frozen=True)
class Made:
    """A delivery that was made.

    Attributes:
        wanted: what was asked for.
        folder: where it lies.
        rows: per table.
    """

    wanted: Wanted
    folder: Path
    rows: Mapping[str, int]


def _order(wanted: Wanted) -> tuple[int, date, str]:
    """Those of one year together: they share a country."""
    return wanted.period.year, wanted.period.end, wanted.id


def _query(wanted: Wanted, table: Table) -> str:
    query = sql(f"deliveries/{wanted.source}.{table.name}")
    if wanted.missing:
        # Whole households, entities or premises are left out, so what is there still agrees.
        word = f"missing {wanted.missing} "
        return f"select * from ({query}) where draw(_unit, '{word}') >= {MISSING_SHARE}"
    return query


def _fragment(folder: Path, wanted: Wanted, table: Table, part: int) -> Path:
    return folder / f"{wanted.source}.{wanted.id}.{table.name}.{part:04d}"


@dataclass(frozen=True)
class _Workshop:
    """What all parts of a run share.

    Attributes:
        landing: where deliveries end.
        contracts: how files are written.
        scope: what is delivered.
        scratch: folder for fragments.
    """

    landing: Path
    contracts: Mapping[str, Contract]
    scope: Scope
    scratch: Path

    def make_part(
        self, part: int, atoms: Sequence[int], deliveries: Sequence[Wanted]
    ) -> tuple[Rows, Truth]:
        """Makes a part of the country for one year and writes its rows of every delivery."""
        rows, truth = Rows(), Truth(self.scope)
        with closing(World(self.scope, atoms, self.scratch / f"spill-{part}")) as world:
            for wanted in deliveries:
                contract = self.contracts[wanted.source]
                world.at(wanted.period, NEEDS[wanted.source])
                for table in contract.tables:
                    rows[wanted.source, wanted.id, table.name] = write_fragment(
                        world.connection,
                        _query(wanted, table),
                        contract,
                        table,
                        _fragment(self.scratch, wanted, table, part),
                    )
                truth.note(world, wanted)
        return rows, truth

    def deliver(self, wanted: Wanted, n_parts: int) -> Path:
        """Puts the parts together and drops the delivery into landing."""
        contract = self.contracts[wanted.source]
        folder = self.scratch / f"{wanted.source}.{wanted.id}"
        folder.mkdir()
        files: dict[str, Path | bytes] = {}
        for table in contract.tables:
            fragments = [_fragment(self.scratch, wanted, table, n) for n in range(n_parts)]
            path = assemble(fragments, contract, table, folder)
            files[path.name] = path
            for fragment in fragments:
                fragment.unlink()
        dialect: dict[str, Any] = (
            {"delimiter": contract.format.delimiter} if contract.format.kind == "csv" else {}
        )
        dropped = write_delivery(
            self.landing / wanted.source,
            id=wanted.id,
            source=wanted.source,
            reference_period=wanted.period,
            observation_status=wanted.status,
            delivered_at=wanted.delivered_at,
            tables=files,
            dialect=dialect,
            encoding=contract.format.encoding,
            supersedes=wanted.supersedes,
            contract_version=contract.version,
            is_archive=wanted.is_archive,
        )
        shutil.rmtree(folder)
        return dropped


def _check(landing: Path, deliveries: Sequence[Wanted], truth: Path | None) -> None:
    if truth is not None and truth.resolve().is_relative_to(landing.resolve()):
        raise UsageError(
            f"{truth} lies in {landing}, where whoever looks for what was planted would find it.",
            code="Z-SYN-008",
            remedy="Choose a place beside landing.",
        )
    for wanted in deliveries:
        if (landing / wanted.source / wanted.id).exists():
            raise UsageError(
                f"{landing / wanted.source / wanted.id} is there already.",
                code="Z-SYN-007",
                remedy="Empty landing, or choose another one, other sources or periods.",
            )


def make(
    landing: Path,
    contracts: Mapping[str, Contract],
    scope: Scope,
    deliveries: Sequence[Wanted],
    say: Say,
    truth: Path | None = None,
) -> Iterator[Made]:
    """Makes deliveries, those of one year together: they share its country.

    Args:
        landing: gets ``<source>/<id>/`` per delivery, descriptor last.
        contracts: how the files are written.
        scope: which part of the made-up country.
        deliveries: as :func:`zicht.synthetic.plan_deliveries` gives them.
        say: is told about every year and part.
        truth: file for what was planted; must not lie in landing.

    Raises:
        UsageError: Z-SYN-007 when a delivery of that name is there already, Z-SYN-008 when the
            truth would lie in landing.
    """
    _check(landing, deliveries, truth)
    landing.mkdir(parents=True, exist_ok=True)
    noted, pieces = Truth(scope), parts(scope)
    with (
        TemporaryDirectory(dir=landing.parent, prefix=".synth-") as folder,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):
        shop = _Workshop(landing, contracts, scope, Path(folder))
        for year, group in groupby(sorted(deliveries, key=_order), lambda one: one.period.year):
            of_year = list(group)
            say(f"{year}: {len(of_year)} {'delivery' if len(of_year) == 1 else 'deliveries'}")
            making = [
                pool.submit(shop.make_part, part, atoms, of_year)
                for part, atoms in enumerate(pieces)
            ]
            rows = Rows()
            for number, part in enumerate(making, start=1):
                part_rows, part_truth = part.result()
                if len(pieces) > 1:
                    say(f"{year}: part {number} of {len(pieces)}")
                rows += part_rows
                noted.add(part_truth)
            packing = [pool.submit(shop.deliver, wanted, len(pieces)) for wanted in of_year]
            for wanted, dropped in zip(of_year, packing, strict=True):
                tables = contracts[wanted.source].tables
                counts = {t.name: rows[wanted.source, wanted.id, t.name] for t in tables}
                yield Made(wanted, dropped.result(), counts)
    if truth is not None:
        write_json(truth, noted.document())


def synthesise(
    landing: Path,
    contracts: Mapping[str, Contract],
    scope: Scope,
    deliveries: Sequence[Wanted],
    say: Say,
    truth: Path | None = None,
) -> list[Path]:
    """Makes all deliveries; see :func:`make`.

    Returns:
        Their folders, in the order of ``deliveries``.
    """
    made = {
        (one.wanted.source, one.wanted.id): one.folder
        for one in make(landing, contracts, scope, deliveries, say, truth)
    }
    return [made[wanted.source, wanted.id] for wanted in deliveries]
