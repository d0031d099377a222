# SPDX-License-Identifier: BSD-2-Clause
"""``spatten selftest``: does a device do what the contract says?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from spatten_drivers import open_device
from spatten_drivers.errors import SpattenError
from spatten_drivers.model.kernels import kernel as kernel_by_name
from spatten_drivers.sizes import bytes_of

from .console import exit_code, out, print_json, progress, say
from .options import AsJson, DeviceUri, Kernel, RequireBoard

if TYPE_CHECKING:
    from ..selftest import Item, Report

_STYLES = {"PASS": "green", "FAIL": "bold red", "not measured": "dim", "not run": "yellow"}


def vectors_here() -> Path:
    """Golden vectors of the source tree, if the package is in one."""
    return Path(__file__).parents[3] / "tests" / "vectors"


def selftest(
    device: DeviceUri = "auto",
    require_board: RequireBoard = False,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory whose every cell is tested, such as 64KiB; else by speed."),
    ] = None,
    soak: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long random jobs run.")] = 10.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the numbers that are drawn.")] = 0,
    kernel: Kernel = "numpy",
    vectors: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Golden vectors; those of this tree unless given.")
    ] = None,
    file: Annotated[
        Path, typer.Option(metavar="OUT.json", help="Where everything is written, to attach to a bug report.")
    ] = Path("spatten-selftest.json"),
    as_json: AsJson = False,
) -> None:
    """Test a device: identity, registers, memory, jobs against the software model, cycles, a soak.

    What device memory holds is lost. Exit code 1 if an item fails, 3 if the device cannot be opened.

    Examples:

    - `spatten selftest --device emulator`
    - `spatten selftest --device 'verilator?preset=small&door=back' --soak 30`
    - `SPATTEN_BOARD='link://board?csr=bitstreams/ecpix5/csr.json&level=1' spatten selftest --require-board`
    """
    from ..atomic import check_writable, write_atomic
    from ..selftest import ITEMS, Bench, not_opened, run_selftest

    kernel_by_name(kernel)
    window = None if memory is None else bytes_of(memory)
    check_writable(file)
    try:
        opened = open_device(device, require_board=require_board, kernel=kernel, announce=say)
    except SpattenError as error:
        report, code = not_opened(device, error), exit_code(error)
    else:
        with opened, progress(len(ITEMS)) as bar:
            bench = Bench(
                opened,
                window,
                soak,
                seed,
                "numpy",
                vectors or vectors_here(),
                step=lambda what: bar.update(bar.task_ids[0], description=what),
            )
            report = run_selftest(bench, device, done=lambda item: bar.advance(bar.task_ids[0]))
        code = 0 if report.verdict == "PASS" else 1
    write_atomic(file, json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report, file)
    raise typer.Exit(code)


def _show(report: Report, file: Path) -> None:
    for item in report.items:
        _show_item(item)
    style = _STYLES[report.verdict]
    which = f": {', '.join(report.failed)}" if report.failed else ""
    which += f"; not measured: {', '.join(report.unmeasured)}" if report.unmeasured else ""
    name = report.about.get("name", report.device)
    digest = report.about.get("config_digest")
    what = f"{name} (config {digest})" if digest else name
    out().print(f"[{style}]{report.verdict}[/]  {escape(what)}{which}", soft_wrap=True)
    say(f"everything is in {file}; attach it to a bug report")


def _show_item(item: Item) -> None:
    first, *more = item.text.splitlines() or [""]
    lines = [f"[{_STYLES[item.verdict]}]{item.verdict:>12}[/]  {item.name:<10} {escape(first)}"]
    lines += [f"{'':>12}  {'':<10} {escape(line)}" for line in more]
    if item.advice:
        lines.append(f"{'':>12}  {'':<10} [dim]→ {escape(item.advice)}[/]")
    out().print("\n".join(lines), soft_wrap=True)
