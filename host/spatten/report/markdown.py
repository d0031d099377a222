# SPDX-License-Identifier: BSD-2-Clause
"""Tables of the pages in docs/, as the commands that measured them write them."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A table in markdown whose first ``text_columns`` columns are left-aligned, the others right-aligned."""
    marks = ["---" if column < text_columns else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, marks, *rows])


def markdown_rows(page: str) -> list[list[str]]:
    """Rows of the tables in a page whose first cell is code: what its command measured before."""
    lines = (line.strip().strip("|").split("|") for line in page.splitlines() if line.startswith("| `"))
    return [[cell.strip() for cell in line] for line in lines]
