# SPDX-License-Identifier: BSD-2-Clause
"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatten_drivers import open_device
from spatten_drivers.model.kernels import kernel as kernel_by_name

from ..presets import PRESETS, chosen_schedule

if TYPE_CHECKING:
    from ..runs.tasks import Target

Texts = Annotated[
    list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts, quoted.", show_default=False)
]
File = Annotated[Path | None, typer.Option(help="A UTF-8 text file, - for stdin; each paragraph is a text.")]
Task = Annotated[
    str,
    typer.Option(help="embedding, similarity, classification, generation, or auto: what the model is for."),
]
Model = Annotated[
    str | None,
    typer.Option(help="minilm, gpt2-prose, bert-base-random, gpt2-small-random, a folder, or a hub id."),
]
ScheduleName = Annotated[
    str, typer.Option("--schedule", help=f"A .toml or .json file, or one of: {', '.join(PRESETS)}.")
]
DeviceUri = Annotated[
    str, typer.Option("--device", help="auto, emulator, or a device uri: see `spatten devices`.")
]
RequireBoard = Annotated[
    bool, typer.Option("--require-board", help="Fail instead of falling back to the emulator.")
]
Kernel = Annotated[
    str, typer.Option(help="Kernel of the emulator: auto, numpy or numba; all give the same bits.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def opened_target(
    schedule: str, device: str, kernel: str, require_board: bool, announce: Callable[[str], None]
) -> Target:
    """The target with its device open: a wrong schedule, kernel or device fails before a model is loaded."""
    from ..runs.tasks import Target

    kernel_by_name(kernel)
    plan = chosen_schedule(schedule)
    opened = open_device(device, require_board=require_board, kernel=kernel, announce=announce)
    return Target(plan, opened, kernel, require_board)
