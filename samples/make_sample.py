"""Cuts the sample in ``statline/`` out of whole StatLine tables.

Usage: ``python samples/make_sample.py FOLDER``, where FOLDER holds ``<TABLE>_TypedDataSet.csv`` as
the OData service of CBS returns them. Lines are copied as they are; nothing is computed. Why these
municipalities: see README.md.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

REGIONS = frozenset(
    (
        # Country, to which municipalities do not add up: what could not be assigned is left out.
        "NL01",
        # Boarnsterhim is split; De Friese Meren comes from a merge and changes code.
        *("GM0055", "GM0653", "GM0082", "GM0051", "GM1921", "GM1940", "GM0074", "GM0080", "GM1900"),
        # Littenseradiel is split; Waadhoeke comes from a merge; Leeuwarden takes in a neighbour.
        *("GM0081", "GM0140", "GM1949", "GM0063", "GM0070", "GM1908"),
        # Weesp joins Amsterdam.
        *("GM0457", "GM0363"),
        # Voorne aan Zee comes from a merge.
        *("GM0501", "GM0530", "GM0614", "GM1992"),
        # Haaren is split over four.
        *("GM0788", "GM0757", "GM0824", "GM0855", "GM0865"),
    )
)
TABLES = {
    "83648NED": ("RegioS", range(2013, 2025)),
    "85655NED": ("Woongemeente", range(2013, 2025)),
    "85383NED": ("RegioS", range(2023, 2026)),
}


def cut(text: str, region_column: str, years: range) -> str:
    """The header and the lines of the chosen regions and years, unchanged and in order."""
    lines = text.splitlines(keepends=True)
    header = next(csv.reader(lines[:1], delimiter=";"))
    region, period = header.index(region_column), header.index("Perioden")
    wanted = [
        line
        for line, fields in zip(lines[1:], csv.reader(lines[1:], delimiter=";"), strict=True)
        if fields[region].strip() in REGIONS and int(fields[period][:4]) in years
    ]
    return lines[0] + "".join(wanted)


def main(folder: Path) -> None:
    """Writes the three tables beside this script."""
    for table, (region_column, years) in TABLES.items():
        text = (folder / f"{table}_TypedDataSet.csv").read_text(encoding="utf-8")
        target = Path(__file__).parent / "statline" / table / "TypedDataSet.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(cut(text, region_column, years), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
