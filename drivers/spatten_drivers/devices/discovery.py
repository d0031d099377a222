# SPDX-License-Identifier: BSD-2-Clause
"""``open_device``: finds a board, else falls back to the emulator and says so."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ..config import DEFAULT_PRESET, PRESETS
from ..errors import ConfigError, DeviceError
from ..sizes import bytes_of
from .base import Device
from .emulator import Emulator

log = logging.getLogger(__name__)


class Refusal(NamedTuple):
    """Why a kind of device was not opened."""

    name: str
    reason: str


def open_device(
    uri: str = "auto",
    *,
    require_board: bool = False,
    kernel: str = "auto",
    announce: Callable[[str], None] = log.warning,
) -> Device:
    """Open the device a URI names.

    Parameters
    ----------
    uri : ``auto`` takes the first board found, else the emulator. ``emulator`` is the software model; options
        go behind a question mark: ``emulator?preset=ecp5-25f&memory=64MiB&debug=1&kernel=numpy``.
    require_board : raise instead of falling back to software.
    kernel : for the emulator, see :class:`Emulator`.
    announce : receives one line: what was chosen, and why each other was refused.

    Raises
    ------
    DeviceError : the URI is unknown, the device does not open, or a board is required and none was found.
    """
    if not isinstance(uri, str):
        raise DeviceError(
            f"device is {uri!r}; expected a uri such as 'auto' or 'emulator', or an open device"
        )
    if uri != "auto":
        device = _open_named(uri, kernel)
        if require_board and not device.is_board:
            raise DeviceError(
                f"a board is required, and {uri!r} is not one; name a board or leave --require-board out"
            )
        return device
    reasons = "; ".join(f"{name}: {reason}" for name, reason in _refusals())
    if require_board:
        raise DeviceError(
            f"a board is required and none was found ({reasons}). Connect one, or leave --require-board out"
        )
    device = Emulator(kernel=kernel)
    announce(f"using {device}: bit-exact software model, no board found ({reasons})")
    return device


def known_devices() -> list[tuple[str, str]]:
    """Every kind of device with ``available`` or the reason why it cannot be opened here."""
    return [*_refusals(), ("emulator", "available")]


def _open_named(uri: str, kernel: str) -> Device:
    parts = urlsplit(uri)
    if (parts.scheme or parts.path) != "emulator":
        raise DeviceError(
            f"no device is known by {uri!r}; expected auto or emulator[?preset=...]. Boards and the RTL "
            "simulator are not supported by this release yet"
        )
    options = {"preset": DEFAULT_PRESET, "memory": "1GiB", "kernel": kernel, "debug": "0"}
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(given) - set(options)):
        raise DeviceError(f"the emulator has no option {unknown}; it has {list(options)}")
    options |= given
    _require_choice("preset", options["preset"], PRESETS)
    _require_choice("debug", options["debug"], ("0", "1"))
    return Emulator(
        PRESETS[options["preset"]],
        memory_bytes=_memory_bytes(options["memory"]),
        kernel=options["kernel"],
        debug=options["debug"] == "1",
    )


def _require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise DeviceError(f"{name} is {value!r}; expected one of {list(choices)}")


def _memory_bytes(text: str) -> int:
    try:
        return bytes_of(text)
    except ConfigError as error:
        raise DeviceError(str(error)) from None


def _refusals() -> list[Refusal]:
    """Why no kind of board can be opened here."""
    return [_probe_pynq(), _probe_litex()]


def _probe_pynq() -> Refusal:
    if importlib.util.find_spec("pynq") is None:
        return Refusal("pynq", "package pynq is not installed")
    return Refusal("pynq", "no Zynq bitstream ships with this release")


def _probe_litex() -> Refusal:
    if "SPATTEN_BOARD" in os.environ:
        return Refusal(
            "litex", f"SPATTEN_BOARD={os.environ['SPATTEN_BOARD']}: this release has no LiteX link yet"
        )
    return Refusal("litex", "no LiteX link in this release")
