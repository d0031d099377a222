# SPDX-License-Identifier: BSD-2-Clause
"""The generated core as a device: its Verilog, reached through its bus and its memory port alone."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import ClockSignal, If, Instance, ResetSignal, Signal
from numpy.typing import NDArray

from spatten_drivers import AcceleratorConfig, Device
from spatten_fpga.gen import Options, generate
from spatten_fpga.sim import Bench
from spatten_fpga.sim.bench import MemoryStreams

BEATS = 64  # asked for and not taken yet
MEMORY = "1MiB"


class Board(LiteXModule):
    """What stands around the core: memory's FIFO, a bus master, and a count of interrupts.

    ``requests`` are bus transfers, each with an answer in ``answers``. Memory may give a beat whenever it has
    one, since no more are asked for than there is room.
    """

    def __init__(self, manifest: dict) -> None:
        self.pins = pins = {p["name"]: Signal(p["width"], name=p["name"]) for p in manifest["ports"]}
        directions = {p["name"]: p["direction"][0] for p in manifest["ports"]}
        beat = [("data", manifest["memory_port"]["data_bits"])]
        address = [("address", manifest["memory_port"]["address_bits"])]
        self.command, self.write = stream.Endpoint(address), stream.Endpoint(address + beat)
        self.data = stream.Endpoint(beat)
        self.requests = stream.Endpoint([("we", 1), ("address", 32), ("data", 32)])
        self.answers = stream.Endpoint([("data", 32)])
        self.interrupts = stream.Endpoint([("seen", 1)])

        # # #

        wires = {f"{directions[name]}_{name}": pin for name, pin in pins.items()}
        wires |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        self.specials += Instance(manifest["name"], **wires)
        self.fifo = fifo = stream.SyncFIFO(beat, BEATS)
        self.read = read = stream.SyncFIFO([("data", 32)], 4)
        self.raised = raised = stream.SyncFIFO([("seen", 1)], 64)
        room = Signal(max=BEATS + 1, reset=BEATS)
        asked, taken = Signal(), Signal()
        self.comb += [
            # Memory
            self.command.valid.eq(pins["mem_command_valid"] & (room != 0)),
            pins["mem_command_ready"].eq(self.command.ready & (room != 0)),
            self.command.address.eq(pins["mem_command_address"]),
            self.data.connect(fifo.sink),
            pins["mem_data_valid"].eq(fifo.source.valid),
            pins["mem_data_data"].eq(fifo.source.data),
            fifo.source.ready.eq(pins["mem_data_ready"]),
            self.write.valid.eq(pins["mem_write_valid"]),
            self.write.address.eq(pins["mem_write_address"]),
            self.write.data.eq(pins["mem_write_data"]),
            pins["mem_write_ready"].eq(self.write.ready),
            pins["mem_initialised"].eq(1),
            asked.eq(self.command.valid & self.command.ready),
            taken.eq(fifo.source.valid & fifo.source.ready),
            # Bus
            *[pins[f"wb_{name}"].eq(self.requests.valid) for name in ("cyc", "stb")],
            pins["wb_we"].eq(self.requests.we),
            pins["wb_sel"].eq(15),
            pins["wb_adr"].eq(self.requests.address[2:]),
            pins["wb_dat_w"].eq(self.requests.data),
            self.requests.ready.eq(pins["wb_ack"]),
            read.sink.valid.eq(pins["wb_ack"]),
            read.sink.data.eq(pins["wb_dat_r"]),
            read.source.connect(self.answers),
            # Interrupt
            raised.sink.valid.eq(pins["irq"]),
            raised.source.connect(self.interrupts),
        ]
        self.sync += If(asked | taken, room.eq(room - asked + taken))


class Chip(Device):
    """A board in simulation: time passes while the host looks at it, ``pause`` cycles after each access.

    Attributes
    ----------
    memory : device memory; reading and writing it takes no time.
    gives_data : False: memory never answers a read again.
    """

    is_board = False
    name = "chip"

    def __init__(self, config: AcceleratorConfig) -> None:
        self.wanted = config
        files = generate(Options(config, MEMORY))
        manifest = json.loads(files["manifest.json"])
        board = Board(manifest)
        names = ("requests", "data"), ("command", "write", "answers", "interrupts")
        sinks, sources = ({name: getattr(board, name) for name in group} for group in names)
        self.bench = Bench(
            board,
            sinks,
            sources,
            memory=MemoryStreams("command", "data", "write"),
            verilog=files[f"{manifest['name']}.v"],
        )
        registers = json.loads(files["csr.json"])["csr_registers"]
        self.register_addresses = {
            name.removeprefix("spatten_").upper(): entry["addr"] for name, entry in registers.items()
        }
        self.memory = np.zeros(manifest["memory_bytes"], np.uint8)
        self.reset()

    def reset(self) -> None:
        """As after power-on, but for what memory holds."""
        self.bench.reset()
        self.pause, self.pace, self.gives_data, self.seed = 40, 1.0, True, 0
        self.identify()

    def expected_config(self) -> AcceleratorConfig:
        return self.wanted

    def read_word(self, address: int) -> int:
        return self._access(we=0, address=address)

    def write_word(self, address: int, value: int) -> None:
        self._access(we=1, address=address, data=value)

    def read_memory(self, address: int, size: int) -> NDArray[np.uint8]:
        return self.memory[address : address + size].copy()

    def write_memory(self, address: int, data: NDArray[np.uint8]) -> None:
        self.memory[address : address + data.size] = data

    def wait_for_interrupt(self) -> None:
        """Let time pass until the interrupt line was high for a clock."""
        self._run({}, {"interrupts": 1}, after=0, interrupts=1.0)

    def let_pass(self, cycles: int) -> None:
        """Look away for so many cycles."""
        self._run({}, {}, after=cycles)

    def _access(self, **request: int) -> int:
        run = self._run({"requests": [request]}, {"answers": 1}, after=self.pause)
        return run.tokens["answers"][0]["data"]

    def _run(self, tokens, expect, *, after: int, interrupts: float = 0.0):
        self.seed += 1
        return self.bench.run(
            tokens,
            expect,
            offer={"data": self.pace if self.gives_data else 0.0},
            take={"command": self.pace, "write": self.pace, "interrupts": interrupts},
            memory=self.memory,
            seed=self.seed,
            after=after,
        )


@cache
def chip(config: AcceleratorConfig) -> Chip:
    """One a configuration and process."""
    return Chip(config)
