"""Rules for magnitudes: who dominates a sum, and who could estimate whose contribution.

All rules look at the largest contributions. For a total these are the largest of its innermost
cells: a contributor that occurs in several of them is seen as several smaller ones. Where that
happens, aggregate per contributor before making cells.
"""

from __future__ import annotations

from zicht.disclosure.spec import Dominance, Income, PPercent
from zicht.disclosure.tables import Bools, Floats, Ints, Magnitudes


def dominated(magnitudes: Magnitudes, rule: Dominance) -> Bools:
    """Cells of which the ``n`` largest contributions exceed ``k`` % of the total.

    Source: Hundepool et al., Handbook on Statistical Disclosure Control, section 4.2.2.
    """
    largest = magnitudes.largest + (magnitudes.second if rule.n == 2 else 0.0)
    return (magnitudes.total > 0) & (largest * 100.0 > rule.k * magnitudes.total)


def estimable(magnitudes: Magnitudes, rule: PPercent) -> Bools:
    """Cells of which the second contributor can estimate the largest within ``p`` %.

    He takes his own contribution off the total: what is left beside the largest must be at least
    ``p`` % of it. Source: as for :func:`dominated`.
    """
    rest = magnitudes.total - magnitudes.largest - magnitudes.second
    # Sums of decimals are not exact; a rest that is nothing but their noise counts as nothing.
    noise = 1e-9 * magnitudes.total
    enough = rule.p / 100.0 * magnitudes.largest
    return (magnitudes.total > 0) & ((rest < enough - noise) | (rest <= noise))


def too_few_for_income(count: Ints, rule: Income) -> Bools:
    """Cells with some units, and fewer than the rules for income ask."""
    return (count > 0) & (count < rule.minimum_units)


def too_large_for_income(magnitudes: Magnitudes, rule: Income) -> Bools:
    """Cells of which one contribution is more of the sum than the rules for income allow."""
    most = rule.largest_share * magnitudes.total
    return (magnitudes.total > 0) & (magnitudes.largest > most)


def relative_reach(magnitudes: Magnitudes, percent: float) -> tuple[Floats, Floats]:
    """The interval, relative to the value, that an attacker must be left with."""
    share = percent / 100.0
    return magnitudes.total * (1.0 - share), magnitudes.total * (1.0 + share)
