"""What was planted, noted while it is made: against this, findings can be checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from zicht.periods import Period
from zicht.synthetic.facts import GROWTH_FROM, GROWTH_UNTIL, facts, figure
from zicht.synthetic.planning import Scope, Wanted
from zicht.synthetic.world import World

OFTEN = 5
"""So many times a dwelling was passed on before it is told."""

_PASSED = """
select link_key('V', premises), code from premises
where is_dwelling and is_passed_on(premises)
"""

_HOLDERS = """
select link_key('H', holder.household), link_key('P', holder.person), any_value(person.code),
    count(premises.premises)
from holder
inner join person on person.person = holder.person
left join premises on premises.c // 5 = holder.block and premises.tenure = 'private'
group by holder.household, holder.person
order by 1
"""


class Truth:
    """Collects what was planted in the deliveries that were made."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.passed: dict[str, set[str]] = defaultdict(set)
        self.holders: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.quarters: set[Period] = set()
        self.sources: set[str] = set()

    def note(self, world: World, wanted: Wanted) -> None:
        """Looks at the country as it was when a delivery was made."""
        self.sources.add(wanted.source)
        if wanted.source != "kadaster":
            return
        if wanted.period not in self.quarters:
            self.quarters.add(wanted.period)
            for key, _ in world.rows(_PASSED):
                self.passed[key].add(str(wanted.period))
        if wanted.period.year not in self.holders:
            self.holders[wanted.period.year] = [
                {"household_key": h, "person_key": p, "municipality_code": code, "n_homes": n}
                for h, p, code, n in world.rows(_HOLDERS)
            ]

    def add(self, other: Truth) -> None:
        """Takes over what was noted of another part or year."""
        self.sources |= other.sources
        self.quarters |= other.quarters
        for key, quarters in other.passed.items():
            self.passed[key] |= quarters
        for year, rows in other.holders.items():
            self.holders[year] += rows

    def _foundations(self) -> dict[str, Any]:
        codes = {self.scope.geography.atoms[n].last_code for n in self.scope.atoms}
        planted = self.scope.geography.planted(self.scope.seed)
        return {
            "what": "Foundations with one director grow evenly to factor times the usual number.",
            "sources": ["nhr"],
            "from": GROWTH_FROM.isoformat(),
            "until": GROWTH_UNTIL.isoformat(),
            "division": self.scope.geography.years[-1],
            "municipalities": {code: f for code, f in planted.items() if code in codes},
        }

    def _sites(self) -> dict[str, Any]:
        figures = facts()
        return {
            "what": "Factors on the chance of a site; the last feature only goes with one.",
            "sources": ["cannabis_sites"],
            "odds": {
                "use_code = industry": figures["odds_industry"],
                "floor_area_m2 >= 200": figures["odds_large"],
                "year_built between 1945 and 1970": figures["odds_rebuilding"],
                "dwelling_type = terraced": 1,
            },
            "confounded": {"dwelling_type = terraced": "year_built between 1945 and 1970"},
        }

    def _passed_on(self) -> dict[str, Any]:
        return {
            "what": f"Dwellings passed on {OFTEN} times or more in the quarters made.",
            "sources": ["kadaster"],
            "premises": {
                key: sorted(quarters)
                for key, quarters in sorted(self.passed.items())
                if len(quarters) >= OFTEN
            },
        }

    def _homes(self) -> dict[str, Any]:
        return {
            "what": "Households that own many homes, with a low income and hardly any wealth.",
            "sources": ["kadaster"],
            "households": {
                str(year): sorted(rows, key=lambda row: str(row["household_key"]))
                for year, rows in sorted(self.holders.items())
            },
        }

    def _turns(self) -> dict[str, Any]:
        codes = {self.scope.geography.atoms[n].last_code for n in self.scope.atoms}
        turning = self.scope.geography.turning(self.scope.seed, self.scope.turns)
        n_years = int(figure("low_income_turn_years"))
        return {
            "what": "The share of households with a low income changes evenly to factor times it.",
            "sources": ["tax_income", "uwv_svb"],
            "division": self.scope.geography.years[-1],
            "municipalities": {
                code: {
                    "as_before_until": turn.year,
                    "until": turn.year + n_years,
                    "factor": turn.factor,
                    "direction": "rises" if turn.factor > 1 else "falls",
                }
                for code, turn in turning.items()
                if code in codes
            },
        }

    def document(self) -> Mapping[str, Any]:
        """What was planted in the sources that were made, as it is written to a file."""
        planted = {
            "single_director_foundations": self._foundations(),
            "cleared_sites": self._sites(),
            "passed_on": self._passed_on(),
            "homes_and_no_means": self._homes(),
        }
        if self.scope.turns:
            planted["low_income_turns"] = self._turns()
        return {
            "seed": self.scope.seed,
            "regions": list(self.scope.regions),
            "sources": sorted(self.sources),
            **{
                name: section
                for name, section in planted.items()
                if self.sources.intersection(section["sources"])
            },
        }
