# SPDX-License-Identifier: BSD-2-Clause
"""All items in turn; what fails does not stop the others, but for a device that is not heard any more."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spatten_drivers import Device
from spatten_drivers.config import ABI_MAJOR, ABI_MINOR
from spatten_drivers.devices import SocDevice
from spatten_drivers.errors import DeviceTimeoutError, LinkError, SpattenError

from .bench import Bench
from .identity import identity, idle
from .memory import leveling, memory
from .registers import registers
from .result import FAIL, NOT_RUN, PASS, UNMEASURED, Finding, Item, Report
from .speed import cycles
from .work import jobs, soak, vectors

Check = Callable[[Bench], Finding]


def link(bench: Bench) -> Finding:
    """What the link to the device had to repeat, and what nobody on the system's bus answered."""
    device = bench.device
    if not isinstance(device, SocDevice):
        return Finding("there is no link", measured=False)
    counts = dict(getattr(device, "link_counts", {}))
    figures = {"faults": counts, "bus_errors": device.bus_errors}
    bench.step("link")
    if device.bus_errors:
        raise SpattenError(f"{device.bus_errors} accesses were answered by nobody on the system's bus")
    faults = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    return Finding(f"faults that were detected and mended: {faults}; bus errors: none", figures)


#: In the order in which one rests on the other, with what to do when it fails.
ITEMS: tuple[tuple[str, Check, str], ...] = (
    ("identity", identity, "load the bitstream again: spatten load; give the csr.json that came with it"),
    ("idle", idle, "reset the board, or load its bitstream again"),
    ("registers", registers, "check cable and power; lower the clock; the bitstream may miss its timing"),
    ("leveling", leveling, "reset the board and level anew; a lane that never has a window is a bad board"),
    ("memory", memory, "reset the board and level anew (level=1); lower the clock; else the memory is bad"),
    ("jobs", jobs, "run it again: a fault that comes and goes is timing or power, one that stays a bug"),
    ("vectors", vectors, "as for jobs"),
    ("cycles", cycles, "the clock, the memory or the bitstream is not what the plan takes; see docs/plan.md"),
    ("soak", soak, "run it again with the same seed; then with another clock, supply or board"),
    ("link", link, "check cable and switch; give the csr.json that came with the bitstream"),
)


def run_selftest(
    bench: Bench, uri: str, *, begin: Callable[[str], None] = lambda name: None, done: Callable[[Item], None]
) -> Report:
    """Run every item.

    Parameters
    ----------
    begin, done : told when an item begins, and what came out.
    """
    report = Report(uri, about(bench.device))
    silent = ""
    for name, check, advice in ITEMS:
        begin(name)
        item = Item(name, NOT_RUN, silent) if silent else _examined(name, check, advice, bench)
        if item.figures.pop("_silent", False):
            silent = f"the device was not heard any more in the item {name}"
        report.items.append(item)
        done(item)
    return report


def _examined(name: str, check: Check, advice: str, bench: Bench) -> Item:
    since = time.perf_counter()
    try:
        finding = check(bench)
    except SpattenError as error:
        figures = dict(getattr(error, "figures", {})) | {"error": type(error).__name__}
        if isinstance(error, LinkError | DeviceTimeoutError):
            figures["_silent"] = True
        return Item(name, FAIL, str(error), figures, advice, time.perf_counter() - since)
    verdict = PASS if finding.measured else UNMEASURED
    return Item(name, verdict, finding.text, finding.figures, "", time.perf_counter() - since)


def not_opened(uri: str, error: SpattenError) -> Report:
    """The report of a device that cannot be opened."""
    report = Report(uri, about(None))
    report.items.append(
        Item("open", FAIL, str(error), {"error": type(error).__name__}, "see docs/first-board.md")
    )
    return report


def about(device: Device | None) -> dict[str, Any]:
    """The programs, the machine and the device, as a bug report needs them."""
    from ..cli.console import versions

    found: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions()},
        "machine": f"{platform.system()} {platform.machine()}",
        "command": " ".join(sys.argv[1:])[:500],
        "abi": f"{ABI_MAJOR}.{ABI_MINOR}",
    }
    if device is None:
        return found
    found |= {
        "name": device.name,
        "is_board": device.is_board,
        "config_digest": f"{device.config.digest:016x}",
        "memory_bytes": device.memory_bytes,
    }
    if isinstance(device, SocDevice):
        found["csr"] = device.csr_map.source
    return found
