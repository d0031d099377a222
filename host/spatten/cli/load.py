# SPDX-License-Identifier: BSD-2-Clause
"""``spatten load``: a bitstream into a board, and wait until it answers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from .bitstreams import Folder
from .console import out, progress, say

if TYPE_CHECKING:
    from spatten_drivers.bitstream import Bitstream

Board = Annotated[str, typer.Argument(metavar="BOARD", help="Such as ecpix5; see `spatten bitstreams`.")]


def load(
    board: Board,
    flash: Annotated[
        bool, typer.Option("--flash", help="Into flash, where it stays; else until power goes.")
    ] = False,
    uri: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Where the board answers; that of its usual link unless given."),
    ] = None,
    flags: Annotated[
        str, typer.Option(metavar="FLAGS", help="For openFPGALoader instead of the board's: '-c ft2232'.")
    ] = "",
    wait: Annotated[
        float,
        typer.Option(min=0.0, metavar="SECONDS", help="How long it may take to answer; 0 does not wait."),
    ] = 60.0,
    folder: Folder = None,
) -> None:
    """Verify a bitstream, load it with openFPGALoader, and wait until the board answers with its digest.

    A board without Ethernet answers at the serial port of its USB device, if there is one such port; else
    name it with --uri. Exit code 3 if the board was not loaded, or was and did not answer or could not be
    asked; --wait 0 does not ask.

    Examples:

    - `spatten load ecpix5`
    - `spatten load ulx3s --flash --uri litex:serial:///dev/ttyUSB0`
    - `spatten load butterstick --flags '-c digilent_hs2'`
    """
    from spatten_drivers.bitstream import BITSTREAM
    from spatten_drivers.devices import Refusal, check_uri
    from spatten_drivers.errors import LoadError
    from spatten_drivers.loader import load as load_into

    from ..loading import usual_uri, with_map
    from ..shelf import chosen, default_folder

    bitstream = chosen(folder or default_folder(), board)
    say(f"{bitstream.folder}: whole, configuration {bitstream.record['config_digest']}")
    place = with_map(uri, bitstream) if uri else usual_uri(bitstream)
    if not isinstance(place, Refusal):
        check_uri(place)
    with progress(1) as bar:
        bar.update(bar.task_ids[0], description=f"loading {bitstream.board}")
        line = load_into(bitstream.board, bitstream.folder / BITSTREAM, flash, flags)
    out().print(f"loaded: {shlex.join(line)}", soft_wrap=True, markup=False)
    if not wait:
        return
    if isinstance(place, Refusal):
        raise LoadError(
            f"{bitstream.board} was loaded, but nothing was verified: {place.reason}, to spatten "
            "selftest --device or spatten load --uri; --wait 0 leaves it unverified"
        )
    _wait(bitstream, place, wait)


def _wait(bitstream: Bitstream, uri: str, seconds: float) -> None:
    from ..loading import for_selftest, wait_for

    def tried(why: str) -> None:
        bar.update(bar.task_ids[0], description=f"waiting: {why[:60]}")

    with progress(1) as bar:
        bar.update(bar.task_ids[0], description=f"waiting for {uri}")
        with wait_for(bitstream, uri, seconds, tried=tried) as device:
            said = f"answers: {device}, {device.memory_bytes >> 20:,} MiB"
            tested = for_selftest(uri, device)
    out().print(said, soft_wrap=True, markup=False)
    out().print(f"next: spatten selftest --device {shlex.quote(tested)}", soft_wrap=True, markup=False)
