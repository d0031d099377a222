# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten.tune.frontier``: tune for tasks, budgets and seeds; write page, plot and numbers."""

from __future__ import annotations

from ...cli import threads

# isort: split
import json
from pathlib import Path
from typing import Annotated

import typer

from ...cli.console import err, errors_to_exit_codes, progress, quiet_libraries, say, teller
from ...cli.options import Fresh
from ...quality.__main__ import named
from ...report.write import check_writable, write_atomic
from ..budget import ratio_of
from ..tasks import KINDS
from ..trainer import Progress, recipes
from ..tuning import Effort
from . import rules as rules_of
from .page import frontier_json, frontier_markdown, lines_of
from .plot import save_plot
from .points import BUDGETS, SUBJECTS, Sweep, kept

__all__ = ["app", "frontier", "threads"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command()
def frontier(
    tasks: Annotated[
        str,
        typer.Option(
            help=f"all, none, or some of, separated by commas: {', '.join(s.name for s in SUBJECTS)}."
        ),
    ] = "all",
    budgets: Annotated[str, typer.Option(help="Factors below dense 32 bit, separated by commas.")] = ",".join(
        f"{budget:g}x" for budget in sorted(BUDGETS)
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Of the 10x points; other budgets take one.")] = 3,
    first_seed: Annotated[int, typer.Option(help="The seeds count from here.")] = 0,
    examples: Annotated[
        int | None, typer.Option(min=2, help="Most training rows: 3000, or 160 windows of a text.")
    ] = None,
    fresh: Fresh = True,
    epochs: Annotated[float, typer.Option(help="Training of a result, and of its control.")] = 2.0,
    dense_epochs: Annotated[float, typer.Option(help="Training before it, dense.")] = 3.0,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 16,
    rate: Annotated[
        float, typer.Option(help="Learning rate of a result; dense training takes 5/3 of it.")
    ] = 3e-5,
    distillation: Annotated[
        float | None,
        typer.Option(help="Share of the loss by the dense model's answers: 0.5, or 0 of a text."),
    ] = None,
    screens: Annotated[int, typer.Option(min=1, help="Schedules looked at without training.")] = 40,
    look: Annotated[
        int | None,
        typer.Option(min=2, help="Development rows of a look: 32, more of short texts, or 4 windows."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Schedules tried with some training.")] = 3,
    trial_epochs: Annotated[float, typer.Option(help="Training of a trial.")] = 0.3,
    report_examples: Annotated[
        int | None, typer.Option(min=2, help="Most development and test rows: 1000, or 32 windows.")
    ] = None,
    rules: Annotated[bool, typer.Option(help="Compare rules of importance on the tasks of a BERT.")] = True,
    device: Annotated[str, typer.Option(help="Where results are measured.")] = "emulator",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the tuned models, 90 MB each.")] = False,
    out: Annotated[Path, typer.Option(help="The page; its plot goes beside it, ending .svg.")] = Path(
        "docs/frontier.md"
    ),
    points: Annotated[
        Path, typer.Option(help="Folder of finished points; another one measures all anew.")
    ] = Path("docs/frontier"),
    build: Annotated[
        Path, typer.Option(help="Folder of frontier.json and, in frontier/, of models and what is under way.")
    ] = Path("build"),
) -> None:
    """Tune for every task, budget and seed; a point that was measured once is taken from its file.

    The page shows all points that stand in their folder, also of earlier commands. With `--tasks none` it is
    written from those alone. Stopped, it goes on where it was.

    Examples:

    - `python -m spatten.tune.frontier`
    - `python -m spatten.tune.frontier --tasks spam --budgets 10x,20x --seeds 1 --examples 800`
    """
    quiet_libraries()
    dense, result = recipes(dense_epochs, epochs, batch, rate)
    effort = Effort(
        screens=screens,
        trials=trials,
        trial_epochs=trial_epochs,
        dense=dense,
        tuned=result,
        fresh=fresh,
        examples=3000,
        report=1000,
        control=True,
    )
    rows, windows = (
        part.given(examples=examples, look=look, report=report_examples, distillation=distillation)
        for part in (effort, effort.for_task("lm"))
    )
    with errors_to_exit_codes("interrupted; finished points are kept, the same command goes on from here"):
        plot, numbers = out.with_suffix(".svg"), build / "frontier.json"
        for path in (out, plot, numbers):
            path.parent.mkdir(parents=True, exist_ok=True)
            check_writable(path)
        sweep = Sweep(
            [] if tasks == "none" else named("task", SUBJECTS, tasks),
            [ratio_of(budget) for budget in budgets.split(",")],
            range(first_seed, first_seed + seeds),
            rows,
            points,
            build / "frontier",
            device,
            keep,
            windows,
        )
        _measure(sweep, rules)
        measured, compared = kept(points), rules_of.kept(points)
        write_atomic(numbers, json.dumps(frontier_json(measured, compared), indent=1) + "\n")
        save_plot(plot, lines_of(measured))
        write_atomic(out, frontier_markdown(measured, compared, plot.name))
        err().print(f"wrote {out}, {plot} and {numbers}", soft_wrap=True)


def _measure(sweep: Sweep, rules: bool) -> None:
    """All points; one bar counts them, the other what runs within the one at work."""
    with progress(len(sweep.points())) as bars:
        outer, inner = bars.tasks[0].id, bars.add_task("", total=None)
        bars.update(outer, description="frontier")
        told = teller(bars, inner)
        for point in sweep.run(told):
            bars.advance(outer)
            reached = f"{point['x32']:.2f}x" if "x32" in point else "no schedule reaches it"
            say(f"{point['data']}, {point['budget']:g}x, seed {point['seed']}: {reached}")
        if rules:
            _compare(sweep, told)


def _compare(sweep: Sweep, told: Progress) -> None:
    """The rules, on the tasks whose texts are read once."""
    for subject in sweep.subjects:
        if not KINDS[subject.task].generates:
            seed = sweep.seeds[0]
            rules_of.compare(subject, seed, sweep.home(subject, seed), sweep.points_folder, told)


if __name__ == "__main__":
    app()
