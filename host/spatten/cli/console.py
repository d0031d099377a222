# SPDX-License-Identifier: BSD-2-Clause
"""What the terminal sees: results on stdout, everything else (progress, notices, errors) on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from spatten_drivers.errors import DeviceError, JobError, SpattenError

from ..fetch import FetchError

PACKAGES = ("spatten", "numpy", "torch", "transformers", "tokenizers", "numba")


def out() -> Console:
    """Results; made anew so that a test's redirected stream is seen. ``:link:`` of a uri is no emoji."""
    return Console(highlight=False, emoji=False)


def err() -> Console:
    """Everything that is not a result."""
    return Console(stderr=True, highlight=False, emoji=False)


def say(line: str) -> None:
    """A notice: one line on stderr, as it is."""
    err().print(line, soft_wrap=True, markup=False)


def print_json(value: Any) -> None:
    """One JSON document, alone on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table whose first ``left`` columns are text and the others numbers."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index < left else "right")
    return made


def report_error(error: Exception) -> None:
    """An error as a user should see it: what it says, without a traceback."""
    err().print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)


def exit_code(error: Exception) -> int:
    """3 for what the device did, 1 for what the user can mend."""
    return 3 if isinstance(error, DeviceError | JobError) else 1


@contextmanager
def errors_to_exit_codes(
    interrupted: str = "interrupted; nothing was left half-written", *, debug: bool = False
) -> Iterator[None]:
    """Typed errors become a message on stderr and an exit code, unless ``debug``; Ctrl-C becomes 130."""
    try:
        yield
    except KeyboardInterrupt:
        err().print(interrupted)
        raise SystemExit(130) from None
    except (SpattenError, FetchError) as error:
        if debug:
            raise
        report_error(error)
        raise SystemExit(exit_code(error)) from error


@contextmanager
def progress(total: int) -> Iterator[Progress]:
    """A progress bar on stderr, which goes away when the work is done; task 0 is the work."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        bar.add_task("starting", total=total)
        yield bar


def teller(bar: Progress, task: TaskID) -> Callable[[str, int, int], None]:
    """Moves a task of a bar to (what runs, steps done, steps in all).

    Where stderr is no terminal, as in a log, no bar can move: there each new ``what`` is a line.
    """
    shown = ""

    def told(what: str, done: int, total: int) -> None:
        nonlocal shown
        bar.update(task, description=what, completed=done, total=total)
        if what != shown and not bar.console.is_terminal:
            say(f"{datetime.now():%H:%M:%S} {what}")
        shown = what

    return told


def quiet_libraries() -> None:
    """Progress bars and advice of the libraries below stay out of ours; what the device says is shown."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("spatten_drivers").setLevel(logging.ERROR)


def versions() -> dict[str, str]:
    """Versions of what a result depends on; ``none`` where a package is not installed."""
    return {name: version_of(name) for name in PACKAGES}


def version_of(name: str) -> str:
    """Of a package; ``none`` if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
