# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten.tune``: how often the surrogate decides as the bit-exact model does, as a table."""

from __future__ import annotations

from ..cli import threads

# isort: split
from typing import Annotated, Any

import typer

from spatten_drivers import Quantization

from ..cli.console import errors_to_exit_codes, progress, quiet_libraries
from ..presets import preset
from ..report.markdown import markdown_table
from ..schedule import Schedule, paper_schedule

__all__ = ["app", "threads"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

HEADER = [
    "schedule",
    "layer jobs",
    "same tokens",
    "same heads",
    "live tokens shared",
    "rows that refetch",
    "refetches apart",
]


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="minilm, a tuned folder, or any BERT.")] = "minilm",
    data: Annotated[str, typer.Option(help="Texts: spam, sentiment, or a file with a column text.")] = "spam",
    texts: Annotated[int, typer.Option(min=1, help="How many.")] = 40,
    max_tokens: Annotated[int, typer.Option(min=4, help="Longer texts are cut.")] = 128,
    device: Annotated[str, typer.Option(help="Device to compare with.")] = "emulator",
) -> None:
    """Run the same texts through the surrogate and the device; print a table in markdown."""
    quiet_libraries()
    with errors_to_exit_codes():
        typer.echo(_table(model, data, texts, max_tokens, device))


def _table(model: str, data: str, texts: int, max_tokens: int, device: str) -> str:
    from spatten_drivers import open_device

    from ..catalog import load
    from .agreement import agreement
    from .data import read_examples

    loaded = load(model)
    rows = read_examples(data, "classification").test[:texts]
    encoded = loaded.tokenizer([row["text"] for row in rows], truncation=True, max_length=max_tokens)
    lines, schedules = [], _schedules(loaded.model.config)
    with open_device(device) as opened, progress(len(schedules)) as bar:
        for schedule in schedules:
            bar.update(bar.task_ids[0], description=schedule.name)
            found = agreement(loaded.model, encoded["input_ids"], schedule, opened)
            lines.append([schedule.name, *found.cells()])
            bar.advance(bar.task_ids[0])
    return markdown_table(HEADER, lines)


def _schedules(config: Any) -> list[Schedule]:
    """Presets for a BERT, four bits with a third of the tokens pruned, and what the model brings along."""
    from ..hf.own import own_schedule

    layers = config.num_hidden_layers
    four = Quantization.static(4)
    chosen = [preset(name, layers, 128) for name in ("dense", "progressive", "gentle", "paper-bert")]
    chosen.append(paper_schedule(layers, tokens=0.7, heads=0.9, quantization=four, name="4 bit, tokens -30%"))
    own = own_schedule(config)
    return [*chosen, own] if isinstance(own, Schedule) else chosen


if __name__ == "__main__":
    app()
