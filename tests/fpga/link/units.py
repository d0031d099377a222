# SPDX-License-Identifier: BSD-2-Clause
"""The parts of the link side by side in one simulated module, which is compiled once."""

from __future__ import annotations

from functools import cache

from litex.gen import LiteXModule

from spatten_drivers import AcceleratorConfig
from spatten_fpga.core.geometry import Geometry
from spatten_fpga.link.blocks import BlockAccess
from spatten_fpga.link.checker import PacketChecker
from spatten_fpga.link.slip import SlipDecoder, SlipEncoder
from spatten_fpga.link.store import PacketStore
from spatten_fpga.link.udp import UdpAdapter
from spatten_fpga.sim.bench import Bench, MemoryStreams

STORE_WORDS, STORE_PACKETS = 64, 4
BEAT = 32


class Units(LiteXModule):
    """Checker, store, block access of wide beats, SLIP and UDP."""

    def __init__(self) -> None:
        self.checker = PacketChecker()
        self.store = PacketStore(STORE_WORDS, STORE_PACKETS)
        self.blocks = BlockAccess(Geometry(AcceleratorConfig(beat_bytes=BEAT)))
        self.decoder = SlipDecoder()
        self.encoder = SlipEncoder()
        self.udp = UdpAdapter(1234)


@cache
def units() -> Bench:
    """Streams by unit and name."""
    dut = Units()
    port = dut.blocks.port
    return Bench(
        dut,
        {
            "check": dut.checker.sink,
            "store": dut.store.sink,
            "words": dut.blocks.sink,
            "data": port.data,
            "line": dut.decoder.sink,
            "answer": dut.encoder.sink,
            "received": dut.udp.received,
            "reply": dut.udp.sink,
        },
        {
            "checked": dut.checker.source,
            "stored": dut.store.source,
            "read": dut.blocks.source,
            "command": port.command,
            "write": port.write,
            "packet": dut.decoder.source,
            "bytes": dut.encoder.source,
            "request": dut.udp.source,
            "sent": dut.udp.sent,
        },
        inputs={
            "start": dut.blocks.start,
            "is_write": dut.blocks.write,
            "address": dut.blocks.address,
            "count": dut.blocks.count,
            "pending": port.writes_pending,
            "fault": port.fault,
        },
        outputs={"done": dut.blocks.done, "failed": dut.blocks.failed},
        memory=MemoryStreams("command", "data", "write"),
    )
