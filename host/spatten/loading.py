# SPDX-License-Identifier: BSD-2-Clause
"""A board that was just loaded: where it answers, and the wait until it does as its manifest says."""

from __future__ import annotations

import time
from collections.abc import Callable

from spatten_drivers import Device, open_device
from spatten_drivers.bitstream import REGISTER_MAP, Bitstream
from spatten_drivers.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceMismatchError,
    LoadError,
    SpattenError,
)

RETRY_SECONDS = 1.0
#: Address of a board with Ethernet, as its build has it unless told otherwise.
ADDRESS = "192.168.1.50"


def usual_uri(bitstream: Bitstream) -> str | None:
    """Of the board's first link over Ethernet; ``None`` where a serial port has to be named."""
    csr = bitstream.folder / REGISTER_MAP
    kinds = {"spl-udp": "link", "etherbone": "udp"}
    kind = next((kinds[link] for link in bitstream.record["links"] if link in kinds), None)
    return kind and f"litex:{kind}://{ADDRESS}?csr={csr}"


def with_map(uri: str, bitstream: Bitstream) -> str:
    """The uri with the register map of the bitstream, if it names none."""
    if not uri.startswith("litex:") or "csr=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}csr={bitstream.folder / REGISTER_MAP}"


def wait_for(
    bitstream: Bitstream,
    uri: str,
    seconds: float,
    *,
    tried: Callable[[str], None] = lambda why: None,
    opened: Callable[[str], Device] = open_device,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Device:
    """The open device, once it answers as the manifest says.

    Parameters
    ----------
    tried : told why, whenever it does not answer.
    opened, sleep, now : how devices are opened and time passes.

    Raises
    ------
    DeviceMismatchError : something else than this bitstream answers.
    DeviceBusyError : another program uses the board.
    LoadError : nothing answers within so many seconds.
    """
    deadline = now() + seconds
    while True:
        try:
            return _right(opened(uri), bitstream)
        except (DeviceMismatchError, DeviceBusyError):
            raise
        except DeviceError as error:
            last: SpattenError = error
        tried(str(last))
        if now() >= deadline:
            raise LoadError(
                f"{bitstream.board} was loaded, but {uri} does not answer within {seconds:g} s: {last}"
            ) from last
        sleep(RETRY_SECONDS)


def _right(device: Device, bitstream: Bitstream) -> Device:
    try:
        bitstream.require_device(device)
    except BaseException:
        device.close()
        raise
    return device
