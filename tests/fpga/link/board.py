# SPDX-License-Identifier: BSD-2-Clause
"""The link's gateware with a bus and a memory behind it, in the simulator, and a client's way to it."""

from __future__ import annotations

from functools import cache

import numpy as np
from litex.gen import LiteXModule
from litex.soc.interconnect import stream, wishbone
from migen import READ_FIRST, Case, If, Memory, Signal

from spatten_drivers import AcceleratorConfig
from spatten_drivers.link import Transport
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.link import LinkEndpoint, LinkSettings
from spatten_fpga.sim.bench import Bench, MemoryStreams
from tests.drivers.link.exercise import COUNT, ERROR, MEMORY_BYTES, PUSH, RAM_WORDS, SILENT

TIMEOUT = 100  # cycles of the bus
JOURNAL = 64  # words that may be pushed between two packets
ANSWER_WORDS = 2048  # that may come in answer to one


class ScratchBus(LiteXModule):
    """The bus of ``tests.drivers.link.exercise``; what is pushed leaves as a stream."""

    def __init__(self) -> None:
        self.bus = bus = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        self.pushed = pushed = stream.Endpoint([("data", 32)])
        self.reads = reads = Signal(32)
        memory = Memory(32, RAM_WORDS)
        port = memory.get_port(write_capable=True, mode=READ_FIRST)
        self.specials += memory, port
        asked, fetched, waits = Signal(), Signal(), Signal(4)
        page = bus.adr[10:20]
        fails = Signal()
        self.comb += [
            asked.eq(bus.cyc & bus.stb),
            port.adr.eq(bus.adr),
            port.dat_w.eq(bus.dat_w),
            pushed.data.eq(bus.dat_w),
            fails.eq((page == ERROR >> 12) | ((page == COUNT >> 12) & bus.we) | ((page == PUSH >> 12) & ~bus.we)),
            If(
                asked & fetched,
                Case(
                    page,
                    {
                        0: [bus.ack.eq(1), bus.dat_r.eq(port.dat_r), port.we.eq(bus.we)],
                        PUSH >> 12: [pushed.valid.eq(bus.we), bus.ack.eq(bus.we & pushed.ready)],
                        COUNT >> 12: [bus.ack.eq(~bus.we), bus.dat_r.eq(reads)],
                        "default": [],
                    },
                ),
                bus.err.eq(fails),
            ),
        ]
        # Each access takes another time, from two cycles up.
        self.sync += [
            waits.eq(waits + 5),
            fetched.eq(asked & ~fetched & ((waits < 11) | fetched)),
            If(asked & fetched & ~bus.ack & ~bus.err, fetched.eq(1)),
            If(bus.ack & (page == COUNT >> 12), reads.eq(reads + 1)),
        ]


class Board(LiteXModule):
    """The link and that bus."""

    def __init__(self, beat: int) -> None:
        geometry = Geometry(AcceleratorConfig(beat_bytes=beat))
        self.link = LinkEndpoint(geometry, LinkSettings(MEMORY_BYTES, bus_timeout=TIMEOUT))
        self.scratch = ScratchBus()
        self.comb += self.link.bus.connect(self.scratch.bus)


@cache
def board_bench(beat: int) -> Bench:
    """Built once for each width of a beat."""
    dut = Board(beat)
    link, port = dut.link, dut.link.port
    return Bench(
        dut,
        {"sink": link.sink, "data": port.data},
        {"source": link.source, "command": port.command, "write": port.write, "pushed": dut.scratch.pushed},
        inputs={"fault": port.fault, "pending": port.writes_pending},
        outputs={"reads": dut.scratch.reads},
        memory=MemoryStreams("command", "data", "write"),
    )


def words_of(packet: bytes, peer: int = 0) -> list[dict[str, int]]:
    """A packet as a line gives it to the link; a rest that is no word makes it damaged."""
    padded = packet + bytes(-len(packet) % 4)
    words = np.frombuffer(padded, "<u4").tolist()
    tokens = [{"data": word, "peer": peer} for word in words]
    if tokens:
        tokens[-1] |= {"last": 1, "damaged": int(len(packet) % 4 != 0)}
    return tokens


def packets_of(tokens: list[dict[str, int]]) -> list[bytes]:
    """Whole packets of a run; the last one must have ended."""
    found, words = [], []
    for token in tokens:
        words.append(token["data"])
        if token["last"]:
            assert token["words"] == len(words)
            found.append(np.array(words, "<u4").tobytes())
            words = []
    assert not words
    return found


class BoardTransport(Transport):
    """Packets to the simulated board, one run each; waiting takes no time.

    Parameters
    ----------
    beat : bytes of a beat.
    seed : of the gaps.
    pace : chance of a word, a beat, an answer's word going on in a cycle.
    after : cycles that the board gets after the last word of a packet.

    Attributes
    ----------
    memory : device memory.
    journal : what was pushed.
    cycles : that were simulated.
    """

    def __init__(self, beat: int, seed: int = 0, pace: float = 1.0, after: int = 1200) -> None:
        self.name = "simulated board"
        self.bench = board_bench(beat)
        self.bench.restart(seed + 1)
        self.memory = np.zeros(MEMORY_BYTES, np.uint8)
        self.journal: list[int] = []
        self.cycles = 0
        self._pace = pace
        self._after = after
        self._seed = seed
        self._answers: list[bytes] = []
        self._now = 0.0

    def send(self, packet: bytes) -> None:
        tokens = words_of(packet, 0xC0A80105_9CBB)
        self._seed += 1
        run = self.bench.run(
            {"sink": tokens},
            {},
            offer=self._pace,
            take=self._pace,
            memory=self.memory,
            record={"source": ANSWER_WORDS, "pushed": JOURNAL},
            seed=self._seed,
            after=self._after,
        )
        assert run.faults == 0
        self.journal += [token["data"] for token in run.tokens["pushed"]]
        self._answers += packets_of(run.tokens["source"])
        self.cycles += len(tokens) + self._after

    def receive(self, timeout: float) -> bytes | None:
        if self._answers:
            return self._answers.pop(0)
        self._now += timeout
        return None

    def now(self) -> float:
        return self._now
