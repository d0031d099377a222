# SPDX-License-Identifier: BSD-2-Clause
"""The command line that all targets share, in the manner of LiteX's own targets."""

from __future__ import annotations

import argparse
import resource
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_drivers.bitstream import BITSTREAM, FILES, MANIFEST, REGISTER_MAP, Bitstream
from spatten_drivers.errors import LoadError, SpattenError
from spatten_drivers.loader import load
from spatten_fpga.gen.options import load_options
from spatten_fpga.soc.etherbone import IP_ADDRESS, MAC_ADDRESS
from spatten_fpga.soc.processor import CPU, NO_CPU
from spatten_fpga.synth.flow import SynthesisError
from spatten_fpga.synth.netlist import totals

from .board import FASTEST, SLOWEST, Board
from .flow import Layout, Say, lay_out, pack, synthesise
from .gateware import Gateware, device_record, write_gateware
from .links import LINKS, possible
from .manifest import write_manifest
from .registers import SPARED, check_registers, tried_by
from .system import Choice
from .timing import Clock, TimingError, check
from .values import ip_address, mac_address, within

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

exit codes: 0 done, 1 a clock is too slow, 2 a wrong call, or a tool or a file failed
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

SEEDS = 2**32 - 1  # the last one
FASTEST_LINE = 12_000_000  # baud, of the fastest USB adapters


def main(board: Board, arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; the exit code."""
    parser = _parser(board)
    given = parser.parse_args(arguments)
    if odd := _odd_call(board, given):
        parser.error(odd)
    output = Path("build") / board.name if given.output_dir is None else given.output_dir
    say = _teller(board.name)
    try:
        code = _build(board, given, output, say) if given.build else 0
        if not code and (given.load or given.flash):
            _load(board, output, given, say)
    except SpattenError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:
        where, why = error.filename or output, error.strerror or error
        sys.stderr.write(f"error: {where}: {why}; mend that, or give another --output-dir\n")
        return 2
    return code


def _odd_call(board: Board, given: argparse.Namespace) -> str | None:
    """What is wrong with options each of which is right."""
    if not (given.build or given.load or given.flash):
        return "nothing to do; give --build, --load or --flash"
    if given.stop_after and (given.load or given.flash):
        return f"--stop-after {given.stop_after} makes no bitstream; leave it out, or --load and --flash"
    links = board.links if given.link is None else given.link
    if given.stop_after == "registers" and tried_by(links) is None:
        return (
            f"registers are tried by one of {', '.join(SPARED)}, but the links are {', '.join(links)}; give "
            "--stop-after verilog, or a --link that they are tried by"
        )
    return None


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
        with_analyzer=given.with_analyzer,
    )
    say(f"elaborate {board.title} with configuration {config.digest:016x}")
    output.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, MANIFEST):
        (output / name).unlink(missing_ok=True)  # of an earlier build: what lies beside is new from here on
    soc, gateware = write_gateware(board, choice, output)
    say(f"Verilog, pins and maps are in {output}")
    if given.stop_after == "verilog":
        return 0
    checked = check_registers(soc, gateware, output / REGISTER_MAP, say)
    if checked is None:
        say(f"registers were not tried: the system has none of {', '.join(SPARED)}")
    if given.stop_after == "registers":
        return 0
    module = synthesise(gateware, say)
    say(_taken(module))
    if given.stop_after == "synthesis":
        return 0
    tried = _sweep(gateware, module, given.seed, say)
    best = max(filter(None, tried.values()), key=lambda layout: layout.worst)
    if len(tried) > 1:
        say(f"seed {best.seed} is kept; {'; '.join(starmap(_outcome, tried.items()))}")
    for clock in best.clocks:
        say(_in_words(clock))
    try:
        check(best.clocks, given.margin / 100, gateware.frequencies)
    except TimingError as error:
        sys.stderr.write(f"error: seed {best.seed}: {error}\n")
        return 1
    pack(best, device_record(soc), output, say)
    rebuild = _rebuild(board, given, best.seed)
    record = write_manifest(soc, gateware, best, tried, output, _preset(config), checked, rebuild)
    say(f"done: {output / BITSTREAM}; the largest process took {_most_memory():,} MB")
    if not record["source_clean"]:
        say(
            f"warning: {MANIFEST} names commit {record['source_commit'][:12]}, but the tree had changes that "
            "are not in it; commit them and build again, or nobody else can"
        )
    return 0


def _most_memory() -> int:
    """MB of this process or of the largest one that it waited for."""
    kilobytes = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return max(kilobytes) // 1000


def _sweep(
    gateware: Gateware, module: Mapping[str, Any], seeds: Sequence[int], say: Say
) -> dict[int, Layout | None]:
    """Layouts by seed, None of a seed that cannot be routed.

    Raises
    ------
    SynthesisError : none can.
    """
    tried: dict[int, Layout | None] = {}
    failures = []
    for seed in seeds:
        try:
            tried[seed] = lay_out(gateware, module, seed, say)
        except SynthesisError as error:
            tried[seed] = None
            failures.append(error)
            say(f"seed {seed}: {error}")
        else:
            say(_outcome(seed, tried[seed]))
    if not any(tried.values()):
        raise failures[0]
    return tried


def _outcome(seed: int, layout: Layout | None) -> str:
    if layout is None:
        return f"seed {seed}: not routed"
    return f"seed {seed}: {layout.reached:.1f} MHz, least margin {layout.worst:+.1%}"


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


def _load(board: Board, folder: Path, given: argparse.Namespace, say: Say) -> None:
    """Into the FPGA, its flash, or both; not what differs from its manifest."""
    bit = folder / BITSTREAM
    if not bit.exists():
        raise LoadError(f"{bit} is not there; build it first with --build")
    bitstream = Bitstream.load(folder)
    bitstream.verify()
    if bitstream.board != board.name:
        raise LoadError(
            f"{bit} is for {bitstream.board}, expected one for {board.name}; give another --output-dir"
        )
    for flash, asked in ((False, given.load), (True, given.flash)):
        if asked:
            say(f"loading {bit}{' into flash' if flash else ''}")
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
    tools.add_argument(
        "--toolchain", choices=("trellis",), default="trellis", help="yosys, nextpnr and Trellis; no other"
    )
    tools.add_argument(
        "--seed",
        type=within(int, 0, SEEDS),
        nargs="+",
        default=[1],
        metavar="N",
        help="of the placement; the best is kept (1)",
    )
    tools.add_argument(
        "--margin",
        type=within(float, 0, 100),
        default=0.0,
        metavar="PERCENT",
        help="by which each clock must be faster (0)",
    )
    return parser


def _system_options(parser: argparse.ArgumentParser, board: Board) -> None:
    soc = parser.add_argument_group("the system")
    core = soc.add_mutually_exclusive_group()
    core.add_argument("--preset", choices=PRESETS, help=f"which core ({board.preset})")
    core.add_argument("--config", type=Path, metavar="FILE", help="a core of your own, for spatten_fpga.gen")
    clock = within(float, SLOWEST, FASTEST)
    soc.add_argument("--sys-clk-freq", type=clock, metavar="HZ", help=f"clock ({board.clock:g})")
    chips = list(board.memory.chips)
    soc.add_argument("--chips", choices=chips, help=f"DRAM on the board ({chips[0]})")
    usual = ", ".join(board.links)
    soc.add_argument(
        "--link", action="append", choices=possible(board), help=f"way to the host, may be repeated ({usual})"
    )
    soc.add_argument(
        "--ip-address", type=ip_address, default=IP_ADDRESS, metavar="IP", help="of the board (%(default)s)"
    )
    soc.add_argument("--mac-address", type=mac_address, default=MAC_ADDRESS, metavar="N", help="of the board")
    soc.add_argument(
        "--baudrate",
        type=within(int, 1, FASTEST_LINE),
        metavar="BD",
        help=f"of the serial line ({board.baudrate})",
    )
    soc.add_argument(
        "--cpu-type",
        choices=[CPU, NO_CPU],
        help=f"a processor whose BIOS makes memory ready ({CPU} where memory is levelled, else {NO_CPU})",
    )
    soc.add_argument(
        "--with-analyzer", action="store_true", help="LiteScope on the core's interesting signals"
    )
