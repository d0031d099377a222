# SPDX-License-Identifier: BSD-2-Clause
"""``spatten replay``: plays a recording on a device and compares every job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from spatten_drivers import open_device
from spatten_drivers.model.kernels import kernel as kernel_by_name

from .console import out, print_json, progress, say, table
from .options import AsJson, DeviceUri, Kernel, RequireBoard

if TYPE_CHECKING:
    from spatten_drivers.recording import ReplayReport

#: Differing jobs that are listed; JSON has all of them.
_LISTED = 20

RecordingFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="What `--record` wrote.", show_default=False)
]


def replay(
    file: RecordingFile,
    device: DeviceUri = "auto",
    require_board: RequireBoard = False,
    kernel: Kernel = "auto",
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, help="Seconds to wait for one job; the device's own if not given."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Play a recording on a device and compare every answer, bit for bit.

    Exit code 1 if a job differs. Cycles and stalls are not compared.

    Examples:

    - `spatten run --record run.rec "A first text."`
    - `spatten replay run.rec`
    - `spatten replay run.rec --device 'emulator?kernel=numpy' --json`
    """
    from spatten_drivers.recording import Recording
    from spatten_drivers.recording import replay as play

    kernel_by_name(kernel)
    Recording(file)  # what is no recording is refused before a device is opened
    opened = open_device(device, require_board=require_board, kernel=kernel, announce=say)
    with opened, progress(0) as bar:
        report = play(
            file,
            opened,
            timeout=timeout,
            begin=lambda jobs: bar.update(bar.task_ids[0], total=jobs, description="jobs"),
            step=lambda: bar.advance(bar.task_ids[0]),
        )
    if report.cut:
        say(f"{str(file)!r} lacks its end: {report.cut}; the {report.jobs} jobs before it were played")
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    raise typer.Exit(0 if report.same_bits else 1)


def _show(report: ReplayReport) -> None:
    rows = table(f"{escape(report.path)}: {report.jobs} jobs", "", "device", "seconds", "cycles", left=2)
    for name, side in (("recorded", report.recorded), ("played", report.replayed)):
        cycles = f"{side.cycles:,}" if side.cycles else "none"
        rows.add_row(name, escape(side.device), f"{side.seconds:.3f}", cycles)
    out().print(rows)
    for difference in report.differences[:_LISTED]:
        out().print(f"[bold red]differs[/] {escape(str(difference))}", soft_wrap=True)
    if (more := len(report.differences) - _LISTED) > 0:
        out().print(f"and {more} more jobs that differ; --json lists all")
    skipped = f", {report.skipped} skipped: they have no answer that another run has to repeat"
    verdict = "[green]equal[/]" if report.same_bits else "[bold red]not equal[/]"
    out().print(
        f"{verdict}: {report.equal} of {report.jobs} jobs have the same bits{skipped * bool(report.skipped)}",
        soft_wrap=True,
    )
