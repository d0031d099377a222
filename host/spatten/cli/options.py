# SPDX-License-Identifier: BSD-2-Clause
"""Options that several commands share, and what they turn into."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatten_drivers import Device, open_device
from spatten_drivers.model.kernels import kernel as kernel_by_name
from spatten_drivers.recording import Recorder, Shadow

from ..presets import OWN, PRESETS, chosen_schedule

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
    str,
    typer.Option(
        "--schedule",
        help=f"A .toml or .json file, own for what the model's config holds (else dense), or one of: "
        f"{', '.join(PRESETS)}.",
    ),
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
Record = Annotated[
    Path | None,
    typer.Option("--record", metavar="FILE", help="Write every job and its answer, for `spatten replay`."),
]
ShadowShare = Annotated[
    float | None,
    typer.Option(
        "--shadow",
        metavar="SHARE",
        min=0.0,
        max=1.0,
        help="Compare this share of the jobs, 1 for all, with the software model; stop at a difference.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh/--same-rows",
        help="Train the result on other rows than the dense model, as far as there are more, or on the same.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def opened_target(
    schedule: str,
    device: str,
    kernel: str,
    require_board: bool,
    announce: Callable[[str], None],
    *,
    record: Path | None = None,
    shadow: float | None = None,
) -> Target:
    """The target with its device open: a wrong schedule, kernel or device fails before a model is loaded."""
    from ..runs.tasks import Target

    kernel_by_name(kernel)
    plan = OWN if schedule == OWN else chosen_schedule(schedule)
    opened = open_device(device, require_board=require_board, kernel=kernel, announce=announce)
    return Target(plan, _watched(opened, record, shadow, kernel, announce), kernel, require_board)


def _watched(
    device: Device, record: Path | None, shadow: float | None, kernel: str, announce: Callable[[str], None]
) -> Device:
    """The device with what watches it; a job that differs goes to the current folder."""
    try:
        if shadow is not None:
            device = Shadow(device, share=shadow, kernel=kernel, progress=_seldom(announce))
        return device if record is None else Recorder(device, record)
    except BaseException:
        device.close()
        raise


def _seldom(announce: Callable[[str], None], seconds: float = 2.0) -> Callable[[str], None]:
    """Of lines that come fast, one every few seconds."""
    last = float("-inf")

    def told(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            announce(line)

    return told


def watchers_say(device: Device | str, announce: Callable[[str], None]) -> None:
    """After a run: what was recorded and compared."""
    if isinstance(device, Recorder):
        announce(f"recording: {device.path}, {device.jobs} jobs")
        device = device.inner
    if isinstance(device, Shadow):
        announce(
            f"shadow: {device.compared} of {device.jobs} jobs compared with the software model, all equal"
        )
