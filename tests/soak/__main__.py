# SPDX-License-Identifier: BSD-2-Clause
"""``python -m tests.soak --device URI --minutes N``: exit code 0 if all is right and flat, else 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from spatten_drivers import open_device
from spatten_drivers.errors import SpattenError

from .run import Soak, soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak what the command line names; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description="Jobs at random on a device, each compared byte for byte with the software model.",
        epilog="exit codes: 0 all right, memory and open files flat; 1 not so; 2 the device fails",
    )
    parser.add_argument("--device", default="emulator", metavar="URI", help="(%(default)s)")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the jobs (%(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="begin at job N of the seed")
    parser.add_argument(
        "--reopen", type=int, default=250, metavar="N", help="open anew every N jobs (%(default)s)"
    )
    given = parser.parse_args(arguments)
    seconds = 60 * given.minutes
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("opening", total=seconds)

            def step(elapsed: float, run: Soak) -> None:
                bar.update(task, completed=elapsed, description=f"{run.jobs.total():,} jobs")

            run = soak(
                partial(open_device, given.device),
                seconds,
                seed=given.seed,
                first=given.first,
                reopen=given.reopen,
                step=step,
            )
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{given.device}: {run.text()}\n")
    return 0 if run.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
