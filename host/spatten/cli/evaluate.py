# SPDX-License-Identifier: BSD-2-Clause
"""``spatten eval``: what a schedule changes on some texts, beside eager attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from .console import out, print_json, progress, quiet_libraries, say, table
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
    from ..fidelity import Fidelity


def evaluate(
    texts: Texts = None,
    file: File = None,
    model: Model = None,
    task: Task = "auto",
    schedule: ScheduleName = "paper-bert",
    device: DeviceUri = "auto",
    require_board: RequireBoard = False,
    kernel: Kernel = "auto",
    record: Record = None,
    shadow: ShadowShare = None,
    as_json: AsJson = False,
) -> None:
    """Compare a schedule with eager float32 attention: cosine, label agreement or perplexity.

    Without texts it takes the passages of the demo.

    Examples:

    - `spatten eval --schedule gentle`
    - `spatten eval --model gpt2-prose --schedule paper-gpt2 --file book.txt`
    - `spatten eval --model ./my-classifier --schedule my.toml --json "A text."`
    """
    inputs = _inputs(texts or [], file)
    target = opened_target(schedule, device, kernel, require_board, say, record=record, shadow=shadow)
    with target.device:
        quiet_libraries()
        from ..catalog import load
        from ..fidelity import evaluate as measure

        loaded = load(model, task)
        with progress(2 * len(inputs)) as bar:
            bar.update(0, description=f"{loaded.name}, {loaded.task}")
            found = measure(loaded, inputs, target, lambda: bar.advance(0))
    watchers_say(target.device, say)
    _print(loaded.name, schedule, found, as_json)


def _inputs(texts: list[str], file: object) -> list[str]:
    from ..demo import demo_texts
    from ..runs.texts import gather_texts

    if not texts and file is None:
        return [passage["text"] for passage in demo_texts()["passages"]]
    return gather_texts(texts, file)


def _print(model: str, schedule: str, found: Fidelity, as_json: bool) -> None:
    from ..report.build import headline

    traffic = headline(found.record)
    if as_json:
        what = {
            "model": model,
            "schedule": schedule,
            "task": found.task,
            "texts": found.texts,
            "device": found.record.device,
        }
        print_json({**what, "measures": found.measures, "traffic": traffic})
        return
    rows = table(
        f"{escape(model)}, {found.task}, schedule {escape(schedule)}, {found.texts} texts", "measure", "value"
    )
    for name, value in found.measures.items():
        rows.add_row(name, f"{value:.4f}")
    rows.add_row("values read, of live keys", f"{traffic['values_read_share']:.1%}")
    rows.add_row("K+V bytes less than dense 16 bit", f"{traffic['ratio_16']:.2f}x")
    rows.add_row("K+V bytes less than dense 32 bit", f"{traffic['ratio_32']:.2f}x")
    out().print(rows)
