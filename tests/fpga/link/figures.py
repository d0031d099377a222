# SPDX-License-Identifier: BSD-2-Clause
"""Bytes a cycle that the link's gateware carries: ``python -m tests.fpga.link.figures`` prints them.

On-chip memory shows the link itself; the board's is LiteDRAM's controller with the DDR3 of the ECPIX-5.
Requests come and answers go a word a cycle, which no line does: so this is what the gateware carries.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from typing import Any

import numpy as np
from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_drivers.fields import unpack
from spatten_drivers.link import Packet
from spatten_drivers.link.format import HEADER_WORDS, IDENTITY, MAX_WORDS, OVERHEAD_WORDS, Operation
from spatten_fpga.backend.litedram import LiteDRAMBackend
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.link import LinkEndpoint, LinkSettings
from spatten_fpga.sim.bench import Bench, MemoryStreams, Run
from spatten_fpga.sim.dram import BoardMemory

from .board import board_bench, words_of

BEAT = 16
PACKETS = 40
PACKET_BYTES = 4 * MAX_WORDS
SESSION = 1


class DramBoard(LiteXModule):
    """The link at LiteDRAM's controller; nothing is on its bus."""

    def __init__(self) -> None:
        geometry = Geometry(AcceleratorConfig(beat_bytes=BEAT))
        self.link = LinkEndpoint(geometry, LinkSettings(1 << 20))
        self.board = BoardMemory()
        self.backend = LiteDRAMBackend(geometry, self.board.crossbar.get_port(data_width=8 * BEAT))
        port, behind = self.link.port, self.backend.port
        self.comb += [
            port.command.connect(behind.command),
            behind.data.connect(port.data),
            port.write.connect(behind.write),
            port.writes_pending.eq(behind.writes_pending),
        ]


@cache
def dram_bench() -> tuple[Bench, dict[str, Any]]:
    """The bench, and what its runs need."""
    dut = DramBoard()
    cells = dut.board.cells
    bench = Bench(
        dut,
        {"sink": dut.link.sink, "data": cells.data},
        {"source": dut.link.source, "command": cells.command, "write": cells.write},
        memory=MemoryStreams("command", "data", "write"),
    )
    return bench, {"memory": np.zeros(1 << 20, np.uint8), "latency": cells.latency}


def answered(bench: Bench, packets: list[Packet], words: int, settings: dict[str, Any]) -> Run:
    """Send packets one behind the other, until so many words of answers have come."""
    tokens = [token for packet in packets for token in words_of(packet.encode())]
    return bench.run({"sink": tokens}, {"source": words}, **settings)


def measure(bench: Bench, settings: dict[str, Any]) -> dict[str, float]:
    """Upload and download of a block, and cycles of a single small request."""
    bench.reset()
    identity = answered(bench, [Packet(Operation.IDENTIFY, 0, 0)], 8 + OVERHEAD_WORDS, settings)
    payload = np.array([t["data"] for t in identity.tokens["source"][HEADER_WORDS:-1]], "<u4")
    ticket = unpack(IDENTITY, payload)["TICKET"]
    answered(bench, [Packet(Operation.OPEN, SESSION, 0, ticket)], 8 + OVERHEAD_WORDS, settings)
    data = [np.random.default_rng(i).bytes(PACKET_BYTES) for i in range(PACKETS)]
    up = [
        Packet(Operation.WRITE_BLOCK, SESSION, 1 + i, PACKET_BYTES * (i % 8), MAX_WORDS, data[i])
        for i in range(PACKETS)
    ]
    down = [
        Packet(Operation.READ_BLOCK, SESSION, 1 + PACKETS + i, PACKET_BYTES * (i % 8), MAX_WORDS)
        for i in range(PACKETS)
    ]
    single = Packet(Operation.READ_BLOCK, SESSION, 1 + 2 * PACKETS, 0, BEAT // 4)
    written = answered(bench, up, OVERHEAD_WORDS * PACKETS, settings)
    read = answered(bench, down, (OVERHEAD_WORDS + MAX_WORDS) * PACKETS, settings)
    one = answered(bench, [single], OVERHEAD_WORDS + BEAT // 4, settings)
    for i, expected in enumerate(data[-8:]):
        start = (OVERHEAD_WORDS + MAX_WORDS) * (PACKETS - 8 + i) + HEADER_WORDS
        words = [token["data"] for token in read.tokens["source"][start : start + MAX_WORDS]]
        assert np.array(words, "<u4").tobytes() == expected
    return {
        "upload_bytes_per_cycle": round(PACKETS * PACKET_BYTES / written.cycles["source"][-1], 2),
        "download_bytes_per_cycle": round(PACKETS * PACKET_BYTES / read.cycles["source"][-1], 2),
        "cycles_of_a_beat_read": one.cycles["source"][-1] + 1,
    }


def figures() -> dict[str, dict[str, float]]:
    """All of them."""
    bench, settings = dram_bench()
    return {"on-chip memory": measure(board_bench(BEAT), {}), "ECPIX-5 DDR3": measure(bench, settings)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(), indent=2) + "\n")
