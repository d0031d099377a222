# SPDX-License-Identifier: BSD-2-Clause
"""``make core-formal``: every proof, every deliberate fault, and the page that says what is proven.

With names of proofs, only those are made again; the other rows of the page stay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from spatten.report.markdown import markdown_rows, markdown_table
from spatten.report.write import write_atomic
from spatten_fpga.formal.sby import BMC, prove

from .cases import Case
from .catalogue import CASES

PAGE = Path("docs/verification.md")
COLUMNS = ["unit", "sizes", "proven", "engine", "cycles", "faults found", "seconds"]
TEMPLATE = Path(__file__).with_name("page.md")


def row(name: str, case: Case) -> tuple[list[str], bool]:
    """A row of the table, and if all is as it should be."""
    verdict = prove(name, case.build(None), case.engine, case.depth)
    wrongs = list(case.sabotages())
    found = [
        prove(f"{name} {wrong}", case.build(wrong), BMC, case.wrong_depth).status == "FAIL"
        for wrong in wrongs
    ]
    bound = "all" if verdict.depth is None else str(verdict.depth)
    said = case.says if verdict.status == "PASS" else f"**{verdict.status}**: {case.says}"
    cells = [f"`{case.unit}`", case.sizes, said, verdict.engine, bound]
    cells += [f"{sum(found)} of {len(found)}", f"{verdict.seconds:.1f}"]
    return cells, verdict.status == "PASS" and all(found)


def rows_of(page: str) -> dict[tuple[str, ...], list[str]]:
    """Rows of the table that a page holds, by unit and sizes."""
    return {tuple(cells[:2]): cells for cells in markdown_rows(page)}


def main(names: list[str]) -> int:
    """Prove all, or those named; 0 if every proof passed and every fault was found."""
    console, rows, sound = Console(), [], True
    before = rows_of(PAGE.read_text("utf-8")) if names else {}
    for place, (name, case) in enumerate(CASES.items(), start=1):
        if names and name not in names:
            rows.append(before[f"`{case.unit}`", case.sizes])
            continue
        cells, good = row(name, case)
        console.print(
            f"{place} of {len(CASES)}  {name}: {' '.join(cells[3:])} {'' if good else 'NOT AS EXPECTED'}"
        )
        rows.append(cells)
        sound = sound and good
    table = markdown_table(COLUMNS, rows)
    write_atomic(PAGE, TEMPLATE.read_text("utf-8").replace("@TABLE@", table.strip()))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
