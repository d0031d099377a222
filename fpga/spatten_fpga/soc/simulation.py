# SPDX-License-Identifier: BSD-2-Clause
"""The system on chip in simulation: the same as on a board, but for pins, clock and chips.

Its host is a bus master on pins; its chips are the memory of the simulator's process, behind LiteDRAM's own
controller with the timing of the board's PHY. It can have the link SpL too, with packets on pins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from litedram.common import PhySettings
from litedram.modules import SDRAMModule
from litedram.phy.dfi import Interface
from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.build.sim import SimPlatform
from litex.gen import LiteXModule
from litex.soc.interconnect import wishbone
from migen import ClockDomain, Signal

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_fpga.link.attach import AttachedLink
from spatten_fpga.link.layouts import PEER_BITS
from spatten_fpga.sim.dram import Cells, ecp5_settings, sdr_settings
from spatten_fpga.sim.lanes import Lanes

from .memory import M12L64322A, MT41K256M16
from .processor import processor_for
from .soc import SpattenSoc

TOP = "spatten_soc"
HOST = {"adr": 30, "dat_w": 32, "dat_r": 32, "sel": 4, "cyc": 1, "stb": 1, "we": 1, "cti": 3, "bte": 2}
HOST |= {"ack": 1, "err": 1}
SIMULATED = "SPATTEN_SIMULATED"  # constant by which a host that comes over the link knows that it is no board
STREAM = {"valid": 1, "ready": 1, "last": 1, "data": 32, "peer": PEER_BITS}


@dataclass(frozen=True)
class Board:
    """What of a board decides about cycles.

    Attributes
    ----------
    name : what it is asked for by.
    target : the board, by the name of its module in :mod:`spatten_fpga.targets`.
    config : of the core.
    chips, rate, lines : the DRAM's module, clocks of the system to clocks of the DRAM, data lines.
    clock : of the system, Hz.
    timing : settings of the board's PHY, given chips, clock and data lines.
    """

    name: str
    target: str
    config: AcceleratorConfig
    chips: type[SDRAMModule]
    rate: str
    lines: int
    clock: float
    timing: Callable[[SDRAMModule, float, int], PhySettings]

    @cached_property
    def module(self) -> SDRAMModule:
        """The chips at this clock."""
        return self.chips(self.clock, self.rate)

    @cached_property
    def settings(self) -> PhySettings:
        """Of the PHY."""
        return self.timing(self.module, self.clock, self.lines)

    @property
    def word_bytes(self) -> int:
        """Bytes that the controller moves at a time."""
        return self.settings.dfi_databits * self.settings.nphases // 8


#: Builds in half the time and simulates several times as fast; the golden vectors are of its core.
SMALL = AcceleratorConfig(
    lanes=32,
    max_sequence=64,
    max_heads=4,
    operand_bits=16,
    kv_buffer_rows=64,
    query_buffer_rows=2,
    topk_parallelism=8,
    job_queue_depth=4,
)
_ECPIX5 = {"target": "ecpix5", "clock": 75e6}
_ECPIX5 |= {"chips": MT41K256M16, "rate": "1:2", "lines": 16, "timing": ecp5_settings}
_COLORLIGHT = {"target": "colorlight_i5", "clock": 60e6}
_COLORLIGHT |= {"chips": M12L64322A, "rate": "1:1", "lines": 32, "timing": sdr_settings}
BOARDS = {
    board.name: board
    for board in (
        *(Board(name, config=PRESETS[name], **_ECPIX5) for name in ("ecp5-85f", "ecp5-85f-slim")),
        *(Board(name, config=PRESETS[name], **_COLORLIGHT) for name in ("ecp5-25f", "ecp5-25f-slim")),
        Board("small", config=SMALL, **_ECPIX5),
    )
}


class SimulatedPHY(LiteXModule):
    """A PHY with a board's timing, and chips whose cells are somebody else's.

    Parameters
    ----------
    board : what it simulates.
    levelled : whether its byte lanes have to be levelled first, as a board's.

    Attributes
    ----------
    settings, dfi : as LiteDRAM wants them.
    cells : :class:`.Cells`.
    """

    def __init__(self, board: Board, levelled: bool = False) -> None:
        self.settings = settings = board.settings
        geometry = board.module.geom_settings
        pins = geometry.addressbits, geometry.bankbits, settings.nranks, settings.dfi_databits
        self.dfi = chips = Interface(*pins, settings.nphases)
        if levelled:
            chips = Interface(*pins, settings.nphases)
            self.lanes = Lanes(self.dfi, chips, settings)
        self.cells = Cells(chips, settings, geometry.colbits)

    def get_csrs(self) -> list:
        """Of the lanes, under the names that they have on a board."""
        return self.lanes.get_csrs() if hasattr(self, "lanes") else []


class Clock(LiteXModule):
    """Clock and reset from pins.

    Attributes
    ----------
    rst : in: the system wants a reset.
    """

    def __init__(self, platform: GenericPlatform) -> None:
        self.cd_sys = ClockDomain("sys")
        self.rst = Signal()
        self.comb += [
            self.cd_sys.clk.eq(platform.request("sys_clk")),
            self.cd_sys.rst.eq(platform.request("sys_rst") | self.rst),
        ]


class SimulatedSoc(SpattenSoc):
    """The system with a bus master, its chips and its interrupt on pins.

    Parameters
    ----------
    board : what it simulates.
    memory_bytes : as in :class:`.SpattenSoc`.
    link : whether it has the link SpL, with the packets of requests and answers on pins.
    options : more for :class:`.SpattenSoc`, such as ``cpu_type`` and ``with_analyzer``. With a processor the
        DRAM has to be levelled as a board's, if the board's has to be.
    """

    tested_bytes = 1 << 14  # a board's 64 KiB would take minutes more; lines of addresses are not tested then

    def __init__(self, board: Board, memory_bytes: int | None = None, link: bool = False, **options) -> None:
        has_processor = options.get("cpu_type") is not None
        phy = SimulatedPHY(board, levelled=has_processor and processor_for(board.settings) is not None)
        cells = phy.cells
        platform = SimPlatform("SIM", _pins(cells) + (_link_pins() if link else []))
        options["memory_bytes"] = memory_bytes
        super().__init__(platform, board.clock, board.config, phy, board.module, **options)
        self.crg = Clock(platform)
        self.host = host = wishbone.Interface(data_width=32, adr_width=30)
        self.add_host("host", host)
        pads = platform.request("cells")
        self.comb += [
            *host.connect_to_pads(platform.request("host"), mode="slave"),
            platform.request("irq").eq(self.job_irq.ev.irq),
            pads.read.eq(cells.command.valid),
            pads.read_address.eq(cells.command.address),
            cells.data.data.eq(pads.read_data),
            pads.write.eq(cells.write.valid),
            pads.write_address.eq(cells.write.address),
            pads.write_data.eq(cells.write.data),
            pads.write_bytes.eq(cells.write_bytes),
        ]
        if link:
            self._put_link_on_pins(board.config)

    def build(self, *arguments, **options) -> None:
        """Nothing: no tool flow of LiteX stands behind it. :func:`system_verilog` makes the Verilog."""

    def _put_link_on_pins(self, config: AcceleratorConfig) -> None:
        """As a board has it, but for what lies between the link and the network."""
        self.add_constant(SIMULATED)
        self.link = attached = AttachedLink(self, config)
        sink, source = attached.endpoint.sink, attached.endpoint.source
        request, answer = self.platform.request("request"), self.platform.request("answer")
        self.comb += [
            sink.valid.eq(request.valid),
            request.ready.eq(sink.ready),
            *(getattr(sink, name).eq(getattr(request, name)) for name in ("last", "data", "damaged", "peer")),
            answer.valid.eq(source.valid),
            source.ready.eq(answer.ready),
            *(getattr(answer, name).eq(getattr(source, name)) for name in ("last", "data", "peer")),
        ]


def _pins(cells: Cells) -> list:
    """Pins of the simulated system; the harness knows them by these names."""
    address, data = len(cells.command.address), len(cells.data.data)
    chips = {"read": 1, "read_address": address, "read_data": data}
    chips |= {"write": 1, "write_address": address, "write_data": data, "write_bytes": data // 8}
    return [
        ("sys_clk", 0, Pins(1)),
        ("sys_rst", 0, Pins(1)),
        ("irq", 0, Pins(1)),
        ("host", 0, *(Subsignal(name, Pins(width)) for name, width in HOST.items())),
        ("cells", 0, *(Subsignal(name, Pins(width)) for name, width in chips.items())),
    ]


def _link_pins() -> list:
    """Pins of the link, by the names that ``line.cpp`` knows."""
    request, answer = STREAM | {"damaged": 1}, STREAM
    return [
        ("request", 0, *(Subsignal(name, Pins(width)) for name, width in request.items())),
        ("answer", 0, *(Subsignal(name, Pins(width)) for name, width in answer.items())),
    ]


def harness(board: Board, link: bool = False) -> str:
    """The C++ around the compiled system, with the line to its link if it has one."""
    files = resources.files(__package__)
    text = files.joinpath("harness.cpp").read_text("utf-8")
    if link:
        text += files.joinpath("line.cpp").read_text("utf-8")
    numbers = {"TOP": TOP, "WORD_BYTES": board.word_bytes, "READ_LATENCY": board.settings.read_latency}
    for name, value in numbers.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def system_verilog(soc: SpattenSoc) -> str:
    """A finalised system as one Verilog text that needs no files beside it."""
    output = soc.platform.get_verilog(soc, name=TOP)
    lines = [line for line in output.main_source.splitlines() if line and not line.startswith("//")]  # a date
    parts = [Path(source).read_text("utf-8") for source, *_ in soc.platform.sources]  # of a processor
    return "\n".join([with_contents("\n".join(lines) + "\n", output.data_files), *parts])


def with_contents(verilog: str, files: Mapping[str, str]) -> str:
    """Verilog with what memories hold at first in place of the files that it would read.

    A simulator looks for such a file in the folder in which the process happens to stand, and goes on with
    zeros if there is none.
    """

    def contents(match: re.Match) -> str:
        words = files[match["file"]].split()
        return "\n".join(f"{match['memory']}[{i}] = 'h{word};" for i, word in enumerate(words))

    return re.sub(r'\$readmemh\("(?P<file>[^"]+)", (?P<memory>\w+)\);', contents, verilog)
