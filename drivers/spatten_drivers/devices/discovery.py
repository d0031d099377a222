# SPDX-License-Identifier: BSD-2-Clause
"""``open_device``: finds a board, else falls back to the emulator and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ..errors import DeviceError, UriError
from .base import Device
from .emulator import Emulator
from .uri import Refusal

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of device.

    Attributes
    ----------
    name : what its uri begins with.
    module : beside this one, loaded when it is needed. Its ``probe() -> Refusal | str`` says why it cannot be
        opened here, or by which uri it can; its ``open_uri(parts, kernel) -> Device`` opens one, given the
        split uri and the kernel that :func:`open_device` was called with; its ``check_uri(parts)`` raises
        what that does for a uri that is wrong, and opens nothing.
    is_board : whether ``auto`` takes it.
    """

    name: str
    module: str
    is_board: bool

    def load(self) -> Any:
        """The module."""
        return import_module(f".{self.module}", __package__)


#: In the order in which ``auto`` tries them.
KINDS = (
    Kind("pynq", "zynq", is_board=True),
    Kind("litex", "litex", is_board=True),
    Kind("verilator", "verilator", is_board=False),
    Kind("emulator", "emulator", is_board=False),
)


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
    uri : ``auto`` takes the first board found, else the emulator. ``emulator`` is the software model,
        ``verilator`` the system's own RTL in simulation; options go behind a question mark:
        ``emulator?preset=ecp5-25f&memory=64MiB&debug=1&kernel=numpy``.
    require_board : raise instead of falling back to software.
    kernel : for the emulator, see :class:`Emulator`.
    announce : receives one line: what was chosen, and why each other was refused.

    Raises
    ------
    DeviceError : the URI is unknown, the device does not open, or a board is required and none was found.
    """
    if not isinstance(uri, str):
        raise UriError(f"device is {uri!r}; expected a uri such as 'auto' or 'emulator', or an open device")
    if uri != "auto":
        device = _open_named(uri, kernel)
        if require_board and not device.is_board:
            device.close()
            raise DeviceError(
                f"a board is required, and {uri!r} is not one; name a board or leave --require-board out"
            )
        return device
    return _open_any(require_board, kernel, announce)


def check_uri(uri: str) -> None:
    """See that a uri is right, without opening anything.

    Raises
    ------
    UriError : it names no kind of device, or lacks what its kind needs.
    DeviceMismatchError : its register map is none.
    """
    if uri != "auto":
        kind, parts = _kind_of(uri)
        kind.load().check_uri(parts)


def known_devices() -> list[tuple[str, str]]:
    """Every kind of device with ``available`` or the reason why it cannot be opened here."""
    found = ((kind.name, kind.load().probe()) for kind in KINDS)
    return [(name, state.reason if isinstance(state, Refusal) else "available") for name, state in found]


def _open_any(require_board: bool, kernel: str, announce: Callable[[str], None]) -> Device:
    refusals: list[Refusal] = []
    for kind in (kind for kind in KINDS if kind.is_board):
        state = kind.load().probe()
        if isinstance(state, Refusal):
            refusals.append(state)
            continue
        try:
            device = _open_named(state, kernel)
        except DeviceError as error:
            refusals.append(Refusal(kind.name, str(error)))
            continue
        if require_board and not device.is_board:
            device.close()
            refusals.append(Refusal(kind.name, f"{device.name} is a simulation"))
            continue
        announce(f"using {device}")
        return device
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refusals)
    if require_board:
        raise DeviceError(
            f"a board is required and none was found ({reasons}). Connect one, or leave --require-board out"
        )
    emulator = Emulator(kernel=kernel)
    announce(f"using {emulator}: bit-exact software model, no board found ({reasons})")
    return emulator


def _open_named(uri: str, kernel: str) -> Device:
    kind, parts = _kind_of(uri)
    device: Device = kind.load().open_uri(parts, kernel)
    return device


def _kind_of(uri: str) -> tuple[Kind, SplitResult]:
    parts = urlsplit(uri)
    for kind in KINDS:
        if kind.name == (parts.scheme or parts.path):
            return kind, parts
    raise UriError(
        f"no device is known by {uri!r}; expected auto or one of {', '.join(kind.name for kind in KINDS)}, "
        "with options behind a question mark: emulator?preset=ecp5-25f"
    )
