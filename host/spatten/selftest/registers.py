# SPDX-License-Identifier: BSD-2-Clause
"""Registers that hold what is written, commands that clear themselves, and words that nobody may write."""

from __future__ import annotations

from collections.abc import Callable

from spatten_drivers import Device
from spatten_drivers.devices import SocDevice
from spatten_drivers.registers import REGISTER_BY_NAME

from ..errors import SelftestFault
from .bench import Bench
from .result import Finding

#: A one and a zero that walk through a word, and words in which neighbours differ.
PATTERNS = (
    *(1 << bit for bit in range(32)),
    *(0xFFFFFFFF ^ 1 << bit for bit in range(32)),
    *(0x55555555, 0xAAAAAAAA, 0x00000000, 0xFFFFFFFF),
)
SCRATCH = "ctrl_scratch"  # of every LiteX system
ABORT, CLEAR_ERROR, IRQ_ENABLE = 1, 2, 4


def registers(bench: Bench) -> Finding:
    """Write and read back ``WATCHDOG``, LiteX's scratch register and ``CONTROL``; they end as they were."""
    device = bench.device
    count = _words_hold(bench, "WATCHDOG", REGISTER_BY_NAME["WATCHDOG"].reset)
    _control(device)
    bench.step("registers")
    tried = ["WATCHDOG", "CONTROL"]
    if isinstance(device, SocDevice):
        count += _scratch_holds(device)
        tried.append(SCRATCH)
        if errors := device.bus_errors:
            raise SelftestFault(
                f"{errors} accesses were answered by nobody on the system's bus; expected none: the map is "
                "of another bitstream, or the bus is bad"
            )
    bench.step("registers")
    return Finding(f"{count} words written and read back: {', '.join(tried)}", {"words": count})


def _words_hold(bench: Bench, name: str, reset: int) -> int:
    device = bench.device
    count = _holds(name, device.write_register, device.read_register, reset)
    bench.step("registers")
    return count


def _scratch_holds(device: SocDevice) -> int:
    return _holds(SCRATCH, device.write_csr, device.read_csr, device.read_csr(SCRATCH))


def _holds(name: str, write: Callable[[str, int], None], read: Callable[[str], int], after: int) -> int:
    """Whether a word reads as it was written; it has ``after`` in the end, whatever comes."""
    try:
        for value in PATTERNS:
            write(name, value)
            _require(name, value, read(name))
    finally:
        write(name, after)
    return len(PATTERNS)


def _control(device: Device) -> None:
    """The one bit that holds, and the two that clear themselves and do nothing to an idle core."""
    done = device.read_register("JOBS_DONE")
    for written, kept in (
        (IRQ_ENABLE, IRQ_ENABLE),
        (IRQ_ENABLE | CLEAR_ERROR, IRQ_ENABLE),
        (ABORT, 0),
        (0, 0),
    ):
        device.write_register("CONTROL", written)
        _require("CONTROL", kept, device.read_register("CONTROL"))
    _require("JOBS_DONE", done, device.read_register("JOBS_DONE"))
    _require("JOB_ERROR", 0, device.read_register("JOB_ERROR"))


def _require(name: str, wanted: int, found: int) -> None:
    if wanted != found:
        raise SelftestFault(
            f"register {name} reads {found:#010x}, expected {wanted:#010x} (bits {wanted ^ found:#010x})"
        )
