"""The wall: every cell that is published came through here, by the way of its kind.

Cells stand in a DuckDB relation with at least ``value``; they leave with two more columns:
``is_suppressed`` (boolean) and ``explanation`` (internal; null for a cell that is shown).
"""

from __future__ import annotations

import duckdb

from zicht.disclosure.policies import Kind, Method, Policy
from zicht.errors import DisclosureError


def require_public(indicator: str, kind: Kind, sources: dict[str, str]) -> None:
    """An indicator is public only if every source of it is: no way around the wall by a label.

    Args:
        sources: per source of the indicator the kind that its contract states.

    Raises:
        DisclosureError: Z-DIS-003 naming the source.
    """
    private = sorted(name for name, own in sources.items() if own != Kind.PUBLIC.value)
    if kind is Kind.PUBLIC and not sources:
        raise DisclosureError(
            f"indicator {indicator} is declared public and rests on no source at all.",
            code="Z-DIS-003",
            remedy="Name its sources in meta.indicator; figures of no source are not published.",
        )
    if kind is Kind.PUBLIC and private:
        raise DisclosureError(
            f"indicator {indicator} is declared public and rests on {', '.join(private)}, "
            "which is not.",
            code="Z-DIS-003",
            remedy="Declare the kind counts, magnitudes, rates or modelled, with its policy.",
        )


def protect(
    connection: duckdb.DuckDBPyConnection,
    policy: Policy,
    kind: Kind,
    cells: str,
    target: str,
) -> None:
    """Appends the protected form of the relation ``cells`` to the table ``target``.

    Public output passes as its source published it: the source has applied its own protection.

    Raises:
        DisclosureError: Z-DIS-001 if the policy is not meant for this kind, Z-DIS-002 if there is
            no protection for this kind: then nothing is published, rather than something unsafe.
    """
    if kind not in policy.kinds:
        raise DisclosureError(
            f"policy {policy.id} is not meant for output of kind {kind.value}.",
            remedy=f"It is for {', '.join(sorted(policy.kinds))}; choose another policy.",
        )
    if kind is not Kind.PUBLIC or policy.method is not Method.AS_PUBLISHED:
        raise DisclosureError(
            f"there is no protection by {policy.method.value} for output of kind {kind.value}.",
            code="Z-DIS-002",
            remedy="Leave the indicator out of the release until there is.",
        )
    connection.execute(
        f"insert into {target} by name select *, false as is_suppressed, "
        f"cast(null as varchar) as explanation from {cells}"
    )
