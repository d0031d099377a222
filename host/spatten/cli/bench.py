# SPDX-License-Identifier: BSD-2-Clause
"""``spatten bench``: how fast the software model is beside eager attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json, progress, quiet_libraries, table
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
    as_json: AsJson = False,
) -> None:
    """Compare whole models on the emulator with eager attention, one thread each.

    Examples:

    - `spatten bench emulator`
    - `spatten bench emulator --cases minilm-128,minilm-512 --repeat 9 --json`
    - `spatten bench emulator --cases all`
    """
    from ..bench import chosen_cases, results_json, run_cases

    quiet_libraries()
    chosen = chosen_cases([name.strip() for name in cases.split(",")])
    with progress(len(chosen)) as bar:
        results = run_cases(chosen, repeat, lambda name: bar.update(0, description=name, advance=1))
    if as_json:
        print_json(results_json(results))
    else:
        _show(results)


def _show(results: list[CaseResult]) -> None:
    columns = ("case", "eager ms", "numpy ms", "numba ms", "numpy / eager", "numba / eager", "max difference")
    rows = table("Emulator against eager attention, one thread each, medians", *columns)
    for r in results:
        numba = ("-", "-") if r.numba_ms is None else (f"{r.numba_ms:.1f}", f"{r.numba_ratio:.2f}x")
        rows.add_row(
            r.name,
            f"{r.eager_ms:.1f}",
            f"{r.numpy_ms:.1f}",
            numba[0],
            f"{r.numpy_ratio:.2f}x",
            numba[1],
            f"{r.difference:.2g}",
        )
    out().print(rows)
