# SPDX-License-Identifier: BSD-2-Clause
"""``spatten bench``: how fast the software model is beside eager attention."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json, progress, quiet_libraries, table, versions
from .options import AsJson

if TYPE_CHECKING:
    from ..bench import CaseResult

app = typer.Typer(no_args_is_help=True, help="Measure speed.", rich_markup_mode="markdown")


@app.callback()
def bench() -> None:
    """Measure speed. Example: `spatten bench emulator --cases minilm-128`."""


@app.command()
def emulator(
    cases: Annotated[
        str, typer.Option(help="default, all, or names separated by commas; minilm* is a prefix.")
    ] = "default",
    repeat: Annotated[int, typer.Option(min=1, help="Measurements of each; medians are compared.")] = 5,
    page: Annotated[
        Path | None, typer.Option(metavar="OUT.md", help="Write a page of markdown as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare whole models on the emulator with eager attention, one thread each.

    Examples:

    - `spatten bench emulator`
    - `spatten bench emulator --cases minilm-128,minilm-512 --repeat 9 --json`
    - `spatten bench emulator --cases all --page docs/performance.md`
    """
    from ..bench import chosen_cases, results_json, results_page, run_cases
    from ..report.write import check_writable, write_atomic

    quiet_libraries()
    if page is not None:
        check_writable(page)
    chosen = chosen_cases([name.strip() for name in cases.split(",")])
    with progress(len(chosen)) as bar:
        results = run_cases(chosen, repeat, lambda name: bar.update(0, description=name, advance=1))
    if page is not None:
        command = shlex.join(["spatten", *sys.argv[1:]])
        write_atomic(page, results_page(results, command, versions()))
    if as_json:
        print_json(results_json(results))
    else:
        _show(results)


def _show(results: list[CaseResult]) -> None:
    from ..bench import COLUMNS, table_cells

    rows = table("Emulator against eager attention, one thread each, medians", *COLUMNS, left=2)
    for result in results:
        rows.add_row(*table_cells(result))
    out().print(rows)
