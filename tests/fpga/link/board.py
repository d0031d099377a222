# SPDX-License-Identifier: BSD-2-Clause
"""The link's gateware with a bus and a memory behind it, in the simulator, and a client's way to it."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache

import numpy as np
from litex.gen import LiteXModule
from litex.soc.interconnect import stream, wishbone
from migen import READ_FIRST, Case, If, Memory, Signal

from spatten_drivers import AcceleratorConfig
from spatten_drivers.link import Transport
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import BlockMemory
from spatten_fpga.link import LinkEndpoint, LinkSettings
from spatten_fpga.sim.bench import Bench
from tests.drivers.link.exercise import COUNT, ERROR, MEMORY_BYTES, PUSH, RAM_WORDS

TIMEOUT = 100  # cycles of the bus
JOURNAL = 1024  # words that may be pushed in a run
ANSWER_WORDS = 4096  # that may come in a run
PEER = 0xC0A80105_9CBB
WAIT, WAITS = 400, 8  # cycles at a time, and how often, until an answer is missed


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
            fails.eq(
                (page == ERROR >> 12) | ((page == COUNT >> 12) & bus.we) | ((page == PUSH >> 12) & ~bus.we)
            ),
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
    """The link, that bus, and device memory."""

    def __init__(self, beat: int) -> None:
        geometry = Geometry(AcceleratorConfig(beat_bytes=beat))
        self.link = LinkEndpoint(geometry, LinkSettings(MEMORY_BYTES, bus_timeout=TIMEOUT))
        self.scratch = ScratchBus()
        self.memory = memory = BlockMemory(geometry, MEMORY_BYTES // beat)
        port = self.link.port
        self.comb += [
            self.link.bus.connect(self.scratch.bus),
            port.command.connect(memory.port.command),
            memory.port.data.connect(port.data),
            port.write.connect(memory.port.write),
            port.writes_pending.eq(memory.port.writes_pending),
        ]


@cache
def board_bench(beat: int) -> Bench:
    """Built once for each width of a beat."""
    dut = Board(beat)
    return Bench(
        dut,
        {"sink": dut.link.sink},
        {"source": dut.link.source, "pushed": dut.scratch.pushed},
        inputs={"fault": dut.link.port.fault},
        outputs={"reads": dut.scratch.reads},
    )


def words_of(packet: bytes, peer: int = 0) -> list[dict[str, int]]:
    """A packet as a line gives it to the link; a rest that is no word makes it damaged."""
    padded = packet + bytes(-len(packet) % 4)
    words = np.frombuffer(padded, "<u4").tolist()
    tokens = [{"data": word, "peer": peer} for word in words]
    if tokens:
        tokens[-1] |= {"last": 1, "damaged": int(len(packet) % 4 != 0)}
    return tokens


class SimulatedTransport(Transport):
    """Packets to something simulated; waiting takes no time.

    Parameters
    ----------
    name : for messages.
    wait, waits : cycles at a time, and how often, until an answer is missed.
    """

    def __init__(self, name: str, wait: int, waits: int) -> None:
        self.name = name
        self._wait, self._waits = wait, waits
        self._answers: list[bytes] = []
        self._now = 0.0

    @abstractmethod
    def _run(self, tokens: list[dict[str, int]], after: int) -> None:
        """Offer the tokens, let ``after`` more cycles pass, and keep what is answered."""

    def receive(self, timeout: float) -> bytes | None:
        for _ in range(self._waits):
            if self._answers:
                return self._answers.pop(0)
            self._run([], self._wait)
        self._now += timeout
        return None

    def now(self) -> float:
        return self._now


class BoardTransport(SimulatedTransport):
    """Packets to the simulated board.

    Parameters
    ----------
    beat : bytes of a beat.
    seed : of the gaps.
    pace : chance of a request's word, an answer's word going on in a cycle.
    after : cycles that the board gets after the last word of a packet; more once nothing else is sent.

    Attributes
    ----------
    journal : what was pushed.
    """

    def __init__(self, beat: int, seed: int = 0, pace: float = 1.0, after: int = 1) -> None:
        super().__init__("simulated board", WAIT, WAITS)
        self.bench = board_bench(beat)
        self.bench.restart(seed + 1)
        self.journal: list[int] = []
        self._pace = pace
        self._after = after
        self._seed = seed
        self._words: list[int] = []

    def send(self, packet: bytes) -> None:
        self._run(words_of(packet, PEER), self._after)

    def _run(self, tokens: list[dict[str, int]], after: int) -> None:
        self._seed += 1
        run = self.bench.run(
            {"sink": tokens},
            {},
            offer=self._pace,
            take=self._pace,
            record={"source": ANSWER_WORDS, "pushed": JOURNAL},
            seed=self._seed,
            after=after,
        )
        self.journal += [token["data"] for token in run.tokens["pushed"]]
        for token in run.tokens["source"]:
            self._words.append(token["data"])
            if token["last"]:
                assert (token["words"], token["peer"]) == (len(self._words), PEER)
                self._answers.append(np.array(self._words, "<u4").tobytes())
                self._words = []
