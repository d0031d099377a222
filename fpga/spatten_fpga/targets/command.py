# SPDX-License-Identifier: BSD-2-Clause
"""The command line that all targets share, in the manner of LiteX's own targets."""

from __future__ import annotations

import argparse
import resource
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_drivers.errors import LoadError, SpattenError
from spatten_drivers.loader import load
from spatten_fpga.gen.options import load_options
from spatten_fpga.soc.etherbone import IP_ADDRESS, MAC_ADDRESS
from spatten_fpga.soc.processor import CPU, NO_CPU
from spatten_fpga.synth.flow import SynthesisError
from spatten_fpga.synth.netlist import totals

from .board import Board
from .flow import Layout, Say, lay_out, pack, synthesise
from .gateware import NAME, Gateware, device_record, write_gateware
from .links import LINKS, possible
from .manifest import write_manifest
from .registers import check_registers
from .system import Choice
from .timing import Clock, TimingError, check

EPILOG = """\
examples:
  python3 -m spatten_fpga.targets.{name} --build                  # build/{name}/spatten.bit and all beside it
  python3 -m spatten_fpga.targets.{name} --build --stop-after synthesis    # does it fit? minutes
  python3 -m spatten_fpga.targets.{name} --build --seed 3
  python3 -m spatten_fpga.targets.{name} --load                   # needs openFPGALoader and the board

links:
{links}

A build leaves in its folder: spatten.bit and spatten.svf.gz to load, csr.json and dram.json for the driver,
csr.csv for LiteX's tools, config.yml, manifest.json, the tools' files in gateware/ and seed-N/. The netlist
is kept: another seed takes place and route only. There is no bitstream of a system that misses its timing.

exit codes: 0 done, 1 a clock is too slow, 2 a wrong call, or a tool failed
"""


#: Options that decide what is built.
CHOSEN = (
    "preset",
    "config",
    "sys_clk_freq",
    "chips",
    "link",
    "ip_address",
    "mac_address",
    "baudrate",
    "cpu_type",
    "with_analyzer",
)


#: Where a build can stop: Verilog and maps written, registers tried in simulation, mapped to cells.
STAGES = ("verilog", "registers", "synthesis")


def main(board: Board, arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    parser = _parser(board)
    given = parser.parse_args(arguments)
    output = given.output_dir or Path("build") / board.name
    try:
        if not (given.build or given.load or given.flash):
            parser.error("nothing to do; give --build, --load or --flash")
        say = _teller(board.name)
        code = _build(board, given, output, say) if given.build else 0
        if not code and (given.load or given.flash):
            _load(board, output / f"{NAME}.bit", given.flash, say)
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return code


# Build --------------------------------------------------------------------------------------------


def _build(board: Board, given: argparse.Namespace, output: Path, say: Say) -> int:
    config = _config(board, given)
    choice = Choice(
        config=config,
        clock=given.sys_clk_freq,
        chips=given.chips,
        links=given.link,
        ip_address=given.ip_address,
        mac_address=given.mac_address,
        baudrate=given.baudrate,
        cpu_type=given.cpu_type,
        options={"with_analyzer": given.with_analyzer},
    )
    say(f"elaborate {board.title} with configuration {config.digest:016x}")
    for name in (f"{NAME}.bit", f"{NAME}.svf.gz", "manifest.json"):
        (output / name).unlink(missing_ok=True)  # of an earlier build: what lies beside is new from here on
    soc, gateware = write_gateware(board, choice, output)
    say(f"Verilog, pins and maps are in {output}")
    if given.stop_after == "verilog":
        return 0
    checked = check_registers(soc, gateware, output / "csr.json", say)
    if given.stop_after == "registers":
        return 0
    module = synthesise(gateware, say)
    say(_taken(module))
    if given.stop_after == "synthesis":
        return 0
    layouts = _sweep(gateware, module, given.seed, say)
    best = max(layouts, key=lambda layout: layout.worst)
    for clock in best.clocks:
        say(_in_words(clock))
    try:
        check(best.clocks, given.margin / 100, gateware.frequencies)
    except TimingError as error:
        sys.stderr.write(f"error: seed {best.seed}: {error}\n")
        return 1
    pack(best, device_record(soc), output, say)
    rebuild = _rebuild(board, given, best.seed)
    write_manifest(soc, gateware, best, layouts, output, _preset(config), checked, rebuild)
    say(f"done: {output / NAME}.bit; the largest process took {_most_memory():,} MB")
    return 0


def _most_memory() -> int:
    """MB of this process or of the largest one that it waited for."""
    kilobytes = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return max(kilobytes) // 1000


def _sweep(gateware: Gateware, module: Mapping[str, Any], seeds: Sequence[int], say: Say) -> list[Layout]:
    """Layouts of all seeds that can be routed.

    Raises
    ------
    SynthesisError : none can.
    """
    layouts, failures = [], []
    for seed in seeds:
        try:
            layouts.append(lay_out(gateware, module, seed, say))
        except SynthesisError as error:
            failures.append(error)
            say(f"seed {seed}: {error}")
        else:
            say(f"seed {seed}: {layouts[-1].reached:.1f} MHz, least margin {layouts[-1].worst:+.1%}")
    if not layouts:
        raise failures[0]
    return layouts


def _config(board: Board, given: argparse.Namespace) -> AcceleratorConfig:
    return load_options(given.config).config if given.config else PRESETS[given.preset or board.preset]


def _preset(config: AcceleratorConfig) -> str | None:
    return next((name for name, known in PRESETS.items() if known == config), None)


def _taken(module: Mapping[str, Any]) -> str:
    taken = totals(module["cells"])
    return (
        f"{taken['lut']:,} LUTs, {taken['ff']:,} flip-flops, {taken['ebr']} block RAMs, "
        f"{taken['mult']} multipliers after synthesis"
    )


def _in_words(clock: Clock) -> str:
    return f"clock {clock.name}: {clock.reached:.1f} MHz, asked {clock.asked:.1f} ({clock.margin:+.1%})"


def _rebuild(board: Board, given: argparse.Namespace, seed: int) -> str:
    """The command that builds the same again, without what is the board's usual."""
    parts = ["python3", "-m", f"spatten_fpga.targets.{board.name}", "--build", "--seed", str(seed)]
    parser = _parser(board)
    for name in CHOSEN:
        value = getattr(given, name)
        if value != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            for one in value if isinstance(value, list) else [value]:
                parts += [option, *_behind(one)]
    return " ".join(parts)


def _behind(value: object) -> list[str]:
    """What stands behind an option that has a value; a flag has none."""
    if value is True:
        return []
    return [f"{value:.0f}" if isinstance(value, float) else str(value)]


def _teller(name: str) -> Say:
    start = time.monotonic()

    def say(text: str) -> None:
        sys.stdout.write(f"{name} {time.monotonic() - start:6.0f} s  {text}\n")
        sys.stdout.flush()

    return say


# Load ---------------------------------------------------------------------------------------------


def _load(board: Board, bit: Path, flash: bool, say: Say) -> None:
    if not bit.exists():
        raise LoadError(f"{bit} is not there; build it first with --build")
    say(f"loading {bit}")
    say(f"loaded: {shlex.join(load(board.name, bit, flash))}")


# Command line -------------------------------------------------------------------------------------


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Defaults in the help, and the epilog as it is written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)


def _parser(board: Board) -> argparse.ArgumentParser:
    links = "\n".join(f"  {name:<10} {LINKS[name]}" for name in possible(board))
    parser = argparse.ArgumentParser(
        prog=f"python3 -m spatten_fpga.targets.{board.name}",
        description=f"SpAtten on the {board.title}: build the bitstream with open tools, load it.",
        epilog=EPILOG.format(name=board.name, links=links),
        formatter_class=_Wide,
    )
    act = parser.add_argument_group("what to do")
    act.add_argument("--build", action="store_true", help="build the bitstream, or up to --stop-after")
    act.add_argument("--load", action="store_true", help="load it into the FPGA, until power goes")
    act.add_argument("--flash", action="store_true", help="write it to the board's flash")
    act.add_argument("--stop-after", choices=STAGES, help="build no further than this")
    act.add_argument("--output-dir", type=Path, metavar="DIR", help=f"where to build (build/{board.name})")
    _system_options(parser, board)
    tools = parser.add_argument_group("tools")
    tools.add_argument("--toolchain", choices=("trellis",), default="trellis", help="yosys, nextpnr, Trellis")
    tools.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[1],
        metavar="N",
        help="of the placement; the best is kept (1)",
    )
    tools.add_argument(
        "--margin", type=float, default=0.0, metavar="PERCENT", help="by which each clock must be faster (0)"
    )
    return parser


def _system_options(parser: argparse.ArgumentParser, board: Board) -> None:
    soc = parser.add_argument_group("the system")
    core = soc.add_mutually_exclusive_group()
    core.add_argument("--preset", choices=PRESETS, help=f"which core ({board.preset})")
    core.add_argument("--config", type=Path, metavar="FILE", help="a core of your own, for spatten_fpga.gen")
    soc.add_argument("--sys-clk-freq", type=float, metavar="HZ", help=f"clock ({board.clock:g})")
    chips = list(board.memory.chips)
    soc.add_argument("--chips", choices=chips, help=f"DRAM on the board ({chips[0]})")
    usual = ", ".join(board.links)
    soc.add_argument(
        "--link", action="append", choices=possible(board), help=f"way to the host, may be repeated ({usual})"
    )
    soc.add_argument("--ip-address", default=IP_ADDRESS, metavar="IP", help="of the board (%(default)s)")
    soc.add_argument(
        "--mac-address", type=lambda text: int(text, 0), default=MAC_ADDRESS, metavar="N", help="of the board"
    )
    soc.add_argument("--baudrate", type=int, metavar="BD", help=f"of the serial line ({board.baudrate})")
    soc.add_argument(
        "--cpu-type",
        choices=[CPU, NO_CPU],
        help=f"a processor whose BIOS makes memory ready ({CPU} where memory is levelled, else {NO_CPU})",
    )
    soc.add_argument(
        "--with-analyzer", action="store_true", help="LiteScope on the core's interesting signals"
    )
