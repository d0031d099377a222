# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten.quality``: run the study; write its page, its plot and its numbers."""

from __future__ import annotations

from ..cli import threads

# isort: split
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from spatten_drivers.errors import ConfigError

from ..cli.console import err, errors_to_exit_codes, progress, quiet_libraries
from ..report.write import check_writable, write_atomic
from .plot import save_plot
from .report import study_json, study_markdown
from .rows import ROWS
from .study import Cell, Plan, run_study
from .tasks import TASKS

__all__ = ["app", "study", "threads"]

Named = TypeVar("Named", bound=Any)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")

_TASK_NAMES = ", ".join(task.name for task in TASKS)
_ROW_NAMES = "; ".join(row.name for row in ROWS)


@app.command()
def study(
    tasks: Annotated[str, typer.Option(help=f"all, or some of, separated by commas: {_TASK_NAMES}.")] = "all",
    rows: Annotated[
        str, typer.Option(help=f"all, or some of, separated by semicolons: {_ROW_NAMES}.")
    ] = "all",
    scale: Annotated[float, typer.Option(min=0.01, help="Factor on every sample size.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed that draws the examples.")] = 0,
    device: Annotated[
        str, typer.Option(help="Where attention runs: emulator, auto or a device uri.")
    ] = "emulator",
    development: Annotated[
        bool, typer.Option("--development", help="Examples set aside for making choices, not for results.")
    ] = False,
    out: Annotated[
        Path, typer.Option(help="The page; its plot goes beside it, with the ending .svg.")
    ] = Path("docs/quality.md"),
    build: Annotated[Path, typer.Option(help="Folder of quality.json and of finished results.")] = Path(
        "build"
    ),
) -> None:
    """Measure what quantization and pruning cost. Stopped, it goes on where it was.

    Examples:

    - `python -m spatten.quality`
    - `python -m spatten.quality --tasks sentiment,spam --rows "12 bit; paper" --scale 0.2 --out build/try.md`
    """
    quiet_libraries()
    with errors_to_exit_codes("interrupted; finished results are kept, run it again to go on"):
        plan = Plan(
            named("task", TASKS, tasks),
            named("row", ROWS, rows),
            build / "quality-cache",
            scale,
            seed,
            device,
            development,
        )
        _write_study(plan, out, build)


def named(kind: str, known: Sequence[Named], wanted: str) -> list[Named]:
    """Those of ``known`` whose names stand in the list ``wanted``, in the order of ``known``.

    Names are separated by commas, or by semicolons, as some have commas themselves.

    Raises
    ------
    ConfigError : a name is not known.
    """
    parts = wanted.split(";" if ";" in wanted else ",")
    names = [item.name for item in known] if wanted == "all" else [part.strip() for part in parts if part]
    for name in names:
        if name not in [item.name for item in known]:
            raise ConfigError(f"{kind} is {name!r}; expected all, or some of {[item.name for item in known]}")
    return [item for item in known if item.name in names]


def _write_study(plan: Plan, out: Path, build: Path) -> None:
    """Run the plan; refuse paths that cannot be written before the long work, not after it."""
    plot, numbers = out.with_suffix(".svg"), build / "quality.json"
    for path in (out, plot, numbers):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    cells = _run_with_progress(plan)
    command = shlex.join(["python", "-m", "spatten.quality", *sys.argv[1:]])
    write_atomic(numbers, json.dumps(study_json(plan, cells, command), indent=1) + "\n")
    save_plot(plot, plan, cells)
    write_atomic(out, study_markdown(plan, cells, command, plot.name))
    err().print(f"wrote {out}, {plot} and {numbers}", soft_wrap=True)


def _run_with_progress(plan: Plan) -> list[Cell]:
    """The cells; one bar counts finished cells, the other the texts of the one at work."""
    with progress(plan.count()) as bars:
        study_bar, cell_bar = bars.tasks[0].id, bars.add_task("", total=None)
        bars.update(study_bar, description="study")

        def told(task: str, work: str, done: int, total: int) -> None:
            bars.update(cell_bar, description=f"{task}: {work}", completed=done, total=total)

        cells = []
        for cell in run_study(plan, told):
            cells.append(cell)
            bars.advance(study_bar)
        return cells


if __name__ == "__main__":
    app()
