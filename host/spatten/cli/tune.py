# SPDX-License-Identifier: BSD-2-Clause
"""``spatten tune``: fine-tune with pruning in the loop, under a budget of bytes or a bound of loss."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ..errors import ModelError
from .console import (
    err,
    errors_to_exit_codes,
    out,
    print_json,
    progress,
    quiet_libraries,
    say,
    table,
    teller,
    versions,
)
from .options import AsJson, DeviceUri, Fresh

if TYPE_CHECKING:
    from ..tune import Outcome

Data = Annotated[
    str,
    typer.Option(
        help="A .csv or .jsonl file, or spam, sentiment, products, retrieval, perplexity-sotu, "
        "perplexity-moby-dick."
    ),
]
TaskName = Annotated[str, typer.Option("--task", help="classification, regression, retrieval, qa or lm.")]
Column = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="NAME=COLUMN", help="What the file calls a column; may be repeated."),
]


def tune(
    model: Annotated[str, typer.Argument(help="minilm, gpt2-prose, a folder, or a hub id.")],
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder of the tuned model.")],
    task: TaskName = "classification",
    budget: Annotated[str | None, typer.Option(help="K and V bytes below dense 32 bit, such as 10x.")] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Most points lost (percent of perplexity), instead of a budget.")
    ] = None,
    column: Column = None,
    max_tokens: Annotated[int, typer.Option(min=4, help="Longer texts are cut; windows of lm.")] = 128,
    epochs: Annotated[float, typer.Option(help="Training of the result.")] = 1.5,
    dense_epochs: Annotated[
        float, typer.Option(help="Training before it, dense; 0 if MODEL is trained.")
    ] = 3.0,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 16,
    rate: Annotated[
        float, typer.Option(help="Learning rate of the result; dense training takes 5/3 of it.")
    ] = 3e-5,
    distillation: Annotated[
        float | None,
        typer.Option(
            help="Share of the loss by the dense model's answers, else by labels: 0.5, or 0 for lm."
        ),
    ] = None,
    screens: Annotated[
        int,
        typer.Option(min=1, help="Schedules looked at without training; some 39 are in any case."),
    ] = 40,
    look: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Development rows that a schedule is looked at with, the best of them on 4 times as many: "
            "32, more of short texts, or 4 windows.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Schedules tried with some training.")] = 2,
    trial_epochs: Annotated[float, typer.Option(help="Training of a trial.")] = 0.3,
    examples: Annotated[
        int | None,
        typer.Option(min=0, help="Most training rows, 0 takes all: 1600, 800 pairs, or 160 windows of lm."),
    ] = None,
    fresh: Fresh = True,
    report_examples: Annotated[
        int | None,
        typer.Option(min=0, help="Most development and test rows, 0 takes all: 500, or 32 windows."),
    ] = None,
    control: Annotated[
        bool,
        typer.Option("--control", help="Also train the dense model as long again, and compare with that."),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Of the parts of DATA, order, dropout, a new head and the search.")
    ] = 0,
    device: DeviceUri = "emulator",
    as_json: AsJson = False,
) -> None:
    """Fine-tune with pruning in the forward pass, search the schedule, measure on the device.

    The output is an ordinary model folder with the schedule in its config: `spatten run --model FOLDER`, or
    `from_pretrained(FOLDER, attn_implementation="spatten")`. Stopped, the same command goes on where it was.

    Examples:

    - `spatten tune minilm --data products --budget 10x --output tuned-products`
    - `spatten tune ./my-bert --data mine.csv --column text=review --max-loss 0.2 --output tuned-mine`
    - `spatten tune gpt2-prose --data perplexity-sotu --task lm --budget 8x --dense-epochs 0 --output prose`
    """
    _check_installed()
    quiet_libraries()
    from ..tune import Effort
    from ..tune import tune as tuned
    from ..tune.budget import ratio_of
    from ..tune.trainer import recipes

    dense, result = recipes(dense_epochs, epochs, batch, rate)
    effort = Effort(
        screens=screens,
        trials=trials,
        trial_epochs=trial_epochs,
        dense=dense,
        tuned=result,
        fresh=fresh,
        control=control,
    )
    # Errors are for the application's own handler, which knows --debug; Ctrl-C has its own words here.
    stopped = errors_to_exit_codes("interrupted; the same command goes on from here", debug=True)
    with stopped, progress(1) as bar:
        outcome = tuned(
            model,
            data,
            task,
            output,
            budget=None if budget is None else ratio_of(budget),
            max_loss=max_loss,
            columns=_columns(column or []),
            max_tokens=max_tokens,
            effort=effort.for_task(task).given(
                examples=examples, look=look, report=report_examples, distillation=distillation
            ),
            device=device,
            seed=seed,
            progress=teller(bar, bar.task_ids[0]),
        )
    _write_report(output, outcome)
    for line in _missed(outcome):
        say(line)
    _print(output, outcome, as_json)


def _check_installed() -> None:
    missing = [
        name for name in ("accelerate", "scipy", "matplotlib") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ModelError(
            f"tuning needs {', '.join(missing)}, which is not installed; run: pip install 'spatten[tune]'"
        )


def _columns(given: list[str]) -> dict[str, str]:
    found = {}
    for pair in given:
        name, equals, column = pair.partition("=")
        if not (name and equals and column):
            raise typer.BadParameter(
                f"{pair!r}; expected NAME=COLUMN, such as text=review", param_hint="--column"
            )
        found[name] = column
    return found


def _missed(outcome: Outcome) -> list[str]:
    """What did not come as asked: a training without use, what holds on the development rows only."""
    settings, reached = outcome.settings, outcome.tuned.ratio(32)
    lost = outcome.lost(outcome.tuned.scores)
    found, training = [], outcome.training
    if not training.helped:
        found.append(
            f"note: training raised the loss on the development rows from {training.untuned:.4f} to "
            f"{training.tuned:.4f}, with no more of them right, and is undone; the folder has the schedule "
            "and the weights from before it"
        )
    if settings["budget"] is not None and reached < settings["budget"]:
        asked = f"{settings['budget']:g}x"
        found.append(f"note: {reached:.2f}x on the test rows; {asked} is kept on the development rows")
    if settings["max_loss"] is not None and lost.value > settings["max_loss"]:
        found.append(
            f"note: {lost.value:.1f} lost on the test rows ({lost.low:.1f} to {lost.high:.1f}); a trial lost "
            f"no more than {settings['max_loss']:g} on the development rows"
        )
    return found


def _write_report(output: Path, outcome: Outcome) -> None:
    """The page that `spatten run` writes, of some test texts, with the tuning's own tables."""
    from ..catalog import load
    from ..report import Header, Section, build_report, write_report
    from ..runs.tasks import Generation, Target, run_texts
    from ..tune.result import tables

    task = {"classification": "classification", "lm": "generation"}.get(outcome.settings["task"], "embedding")
    loaded = load(str(output), task)
    target = Target("own", "emulator")
    run = run_texts(loaded, outcome.shown, target, generation=Generation(16), truncate=True)
    settings = outcome.settings
    lead = f"{settings['model']} tuned for {settings['data']}, as it reads some of the test texts."
    section = Section(f"{settings['model']}, {settings['task']}", run, lead, tables(outcome))
    command = shlex.join(["spatten", *sys.argv[1:]])
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = output / "report.html"
    write_report(page, build_report(Header(f"Tuned: {output.name}", command, date, versions()), [section]))
    say(f"report: {page}")


def _print(output: Path, outcome: Outcome, as_json: bool) -> None:
    from ..tune.result import COLUMNS

    if as_json:
        found: dict[str, Any] = outcome.to_dict()
        numbers = {name: value for name, value in found.items() if name not in ("scores", "asides")}
        print_json({"folder": str(output), **numbers})
        return
    rows = table(
        f"{escape(str(output))}: {len(outcome.tuned.scores)} test examples",
        *COLUMNS,
        outcome.metric.name,
        "change",
    )
    for row in outcome.rows():
        rows.add_row(*map(escape, row))
    out().print(rows)
    err().print(
        f"model folder: {output}; run it with: spatten run --model {output}", soft_wrap=True, markup=False
    )
