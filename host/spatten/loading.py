# SPDX-License-Identifier: BSD-2-Clause
"""A board that was just loaded: where it answers, and the wait until it does as its manifest says."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from spatten_drivers import Device, open_device
from spatten_drivers.bitstream import REGISTER_MAP, Bitstream
from spatten_drivers.devices import Refusal
from spatten_drivers.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceMismatchError,
    LoadError,
    SpattenError,
    UriError,
)
from spatten_drivers.loader import WAYS

RETRY_SECONDS = 1.0
#: Address of a board with Ethernet, as its build has it unless told otherwise.
ADDRESS = "192.168.1.50"
#: What each link of a manifest is called in a uri.
_KINDS = {"spl-udp": "link", "etherbone": "udp", "spl-uart": "link+serial", "uart": "serial"}


def usual_uri(bitstream: Bitstream) -> str | Refusal:
    """By the board's first link: its address over Ethernet, else the one serial port of its USB device."""
    kind = _KINDS[bitstream.record["links"][0]]
    if kind in ("link", "udp"):
        return with_map(f"litex:{kind}://{ADDRESS}", bitstream)
    port = serial_port(bitstream.board)
    if isinstance(port, Refusal):
        example = with_map(f"litex:{kind}:///dev/ttyUSB0", bitstream)
        return Refusal(port.name, f"{port.reason}. Name its port, as in {shlex.quote(example)}")
    return with_map(f"litex:{kind}://{port}", bitstream)


def serial_port(board: str) -> str | Refusal:
    """The port of the board's USB device, if there is one, by what pyserial knows of each."""
    way = WAYS.get(board)
    if way is None or not way.serial:
        return Refusal("serial", f"{board} has no serial port of its own on USB")
    try:
        from serial.tools.list_ports import comports
    except ImportError:
        return Refusal("serial", "serial ports are not looked for without pyserial (pip install pyserial)")
    ports = [str(port.device) for port in comports() if _is_of(port, way.usb)]
    if len(ports) == 1:
        return ports[0]
    return Refusal("serial", f"of USB device {way.usb} there is {' and '.join(ports) or 'no serial port'}")


def _is_of(port: Any, usb: str) -> bool:
    """As :class:`~spatten_drivers.loader.Way` names USB devices: by numbers, or by part of the name."""
    numbers = "" if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"
    return usb == numbers or usb in (port.product or "")


def with_map(uri: str, bitstream: Bitstream) -> str:
    """The uri with the register map of the bitstream, if it names none."""
    if not uri.startswith("litex:") or "csr" in dict(parse_qsl(urlsplit(uri).query)):
        return uri
    return _with(uri, f"csr={quote(str(bitstream.folder / REGISTER_MAP))}")


def for_selftest(uri: str, device: Device) -> str:
    """The uri by which the self-test levels memory anew, if that was levelled from here."""
    leveled = getattr(device, "leveling", None) is not None
    return _with(uri, "level=1") if leveled and "level" not in dict(parse_qsl(urlsplit(uri).query)) else uri


def _with(uri: str, option: str) -> str:
    return f"{uri}{'&' if '?' in uri else '?'}{option}"


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
    UriError : the uri is wrong.
    LoadError : nothing answers within so many seconds.
    """
    deadline = now() + seconds
    while True:
        try:
            return _right(opened(uri), bitstream)
        except (DeviceMismatchError, DeviceBusyError, UriError):
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
