# SPDX-License-Identifier: BSD-2-Clause
"""``spatten doctor``: is everything here that a run needs?"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from .console import out, print_json
from .options import AsJson, DeviceUri

if TYPE_CHECKING:
    from ..doctor import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(device: DeviceUri = "auto", as_json: AsJson = False) -> None:
    """Check the environment; exit code 1 if something that a run needs is missing.

    Examples:

    - `spatten doctor`
    - `spatten doctor --json`
    """
    from ..doctor import FAIL, examine

    checks = examine(device)
    failed = [check.name for check in checks if check.state == FAIL]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            _show(check)
    raise typer.Exit(1 if failed else 0)


def _show(check: Check) -> None:
    style = _STYLES[check.state]
    line = f"[{style}]{check.state:>4}[/]  {check.name:<13} {escape(check.finding)}"
    out().print(
        line + (f"\n      {'':<13} [dim]→ {escape(check.advice)}[/]" if check.advice else ""), soft_wrap=True
    )
