# SPDX-License-Identifier: BSD-2-Clause
"""``spatten run``: texts in; embeddings, similarities, labels or new text out, and what was pruned."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import out, print_json, progress, quiet_libraries, say, versions
from .options import (
    AsJson,
    DeviceUri,
    File,
    Kernel,
    Model,
    Record,
    RequireBoard,
    ScheduleName,
    ShadowShare,
    Task,
    Texts,
    opened_target,
    watchers_say,
)

if TYPE_CHECKING:
    from ..report import Section
    from ..runs.tasks import Generation, Target

NewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens to generate.")]
Sample = Annotated[
    bool, typer.Option("--sample/--greedy", help="Draw from the 50 likeliest tokens, or take the best.")
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="OUT.html", help="Write one self-contained HTML page.")
]


def run(
    texts: Texts = None,
    file: File = None,
    model: Model = None,
    task: Task = "auto",
    schedule: ScheduleName = "own",
    device: DeviceUri = "auto",
    require_board: RequireBoard = False,
    kernel: Kernel = "auto",
    max_new_tokens: NewTokens = 48,
    sample: Sample = False,
    seed: Annotated[int, typer.Option(help="Of sampling and of random weights.")] = 0,
    truncate: Annotated[bool, typer.Option("--truncate", help="Cut texts that are too long.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="MiniLM over real passages and a GPT-2 writing; no TEXT.")
    ] = False,
    report: Report = None,
    record: Record = None,
    shadow: ShadowShare = None,
    as_json: AsJson = False,
) -> None:
    """Run texts through a model with attention on the device.

    Examples:

    - `spatten run --demo --report report.html`
    - `spatten run "The whale rose." "A ship sank." --task similarity --schedule paper-bert`
    - `spatten run --model gpt2-prose --schedule paper-gpt2 --sample "It was a dark night"`
    - `spatten run --file book.txt --schedule gentle --report book.html --json`
    - `spatten run "The whale rose." --record run.rec --shadow 1`
    """
    _check_usage(texts, file, demo)
    _check_report(report)
    inputs = [] if demo else _inputs(texts or [], file)
    target = opened_target(schedule, device, kernel, require_board, say, record=record, shadow=shadow)
    with target.device:
        quiet_libraries()
        generation = _generation(max_new_tokens, sample or demo, seed)
        if demo:
            sections, found = _run_demo(target, generation, as_json)
        else:
            sections, found = _run_texts(model, task, inputs, target, generation, truncate, seed, as_json)
    watchers_say(target.device, say)
    _finish(
        sections,
        found,
        report,
        as_json,
        "BERT and GPT\u20112 through SpAtten" if demo else sections[0].title,
    )


def _check_usage(texts: list[str] | None, file: Path | None, demo: bool) -> None:
    if demo and (texts or file):
        raise typer.BadParameter(
            "--demo brings its own texts; leave TEXT and --file out", param_hint="--demo"
        )


def _check_report(report: Path | None) -> None:
    if report is not None:
        from ..report import check_writable

        check_writable(report)


def _inputs(texts: list[str], file: Path | None) -> list[str]:
    from ..runs.texts import gather_texts

    return gather_texts(texts, file)


def _generation(max_new_tokens: int, sample: bool, seed: int) -> Generation:
    from ..runs.tasks import Generation

    return Generation(max_new_tokens, sample, seed)


def _run_texts(
    model: str | None,
    task: str,
    texts: list[str],
    target: Target,
    generation: Generation,
    truncate: bool,
    seed: int,
    as_json: bool,
) -> tuple[list[Section], dict[str, Any]]:
    from ..catalog import load
    from ..report import Section
    from ..runs.tasks import run_texts, steps_of
    from .show import run_json, show_run

    loaded = load(model, task, seed)
    with progress(steps_of(loaded.task, len(texts), generation)) as bar:
        bar.update(bar.task_ids[0], description=f"{loaded.name}, {loaded.task}")
        done = run_texts(loaded, texts, target, generation=generation, truncate=truncate, step=_advance(bar))
    if not as_json:
        show_run(out(), done)
    return [Section(f"{loaded.name}: {loaded.task}", done)], run_json(done)


def _run_demo(target: Target, generation: Generation, as_json: bool) -> tuple[list[Section], dict[str, Any]]:
    from ..demo import demo_steps, run_demo
    from .show import demo_json, demo_sections, show_demo

    with progress(demo_steps(generation)) as bar:
        done = run_demo(target, generation, step=_advance(bar), say=_describe(bar))
    if not as_json:
        show_demo(out(), done)
    return demo_sections(done), demo_json(done)


def _advance(bar: Any) -> Callable[[], None]:
    return lambda: bar.advance(bar.task_ids[0])


def _describe(bar: Any) -> Callable[[str], None]:
    return lambda line: bar.update(bar.task_ids[0], description=line)


def _finish(
    sections: list[Section], record: dict[str, Any], report: Path | None, as_json: bool, title: str
) -> None:
    """The report, if one is wanted, then JSON."""
    if report is not None:
        from ..report import Header, build_report, write_report

        command = shlex.join(["spatten", *sys.argv[1:]])
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        write_report(report, build_report(Header(title, command, date, versions()), sections))
        say(f"report: {report}")
    if as_json:
        print_json(record)
