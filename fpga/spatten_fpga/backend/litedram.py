# SPDX-License-Identifier: BSD-2-Clause
"""The core's memory port onto a native port of LiteDRAM."""

from __future__ import annotations

from litedram.common import LiteDRAMNativePort
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import If, Mux, Signal

from spatten_fpga.core.geometry import Geometry
from spatten_fpga.core.port import MemoryPort, address_bits, data_layout

DEPTH = 16  # beats of each FIFO: at a word every other cycle they cover some 30 cycles of latency


class LiteDRAMBackend(LiteXModule):
    """Reads and writes of a :class:`.MemoryPort` as commands of one native port.

    The controller keeps the order of a port's commands to an address, refreshes the memory and opens its
    rows; all that is left to do here is to have room for what it gives, data for what it takes, and to change
    between reads and writes seldom, because turning the memory's bus round takes about 20 cycles. So writes
    wait until there are ``depth`` of them, or no read wants to go, and then go all. A read may pass a write
    that was accepted before it, which ``writes_pending`` tells.

    Parameters
    ----------
    geometry : sizes of the core.
    port : what ``crossbar.get_port(data_width=geometry.beat_bits)`` gives: LiteDRAM converts where its words
        are of another width. A beat that is narrower than a word takes the time of a whole one.
    depth : most beats that are asked for and not taken, and most that wait to be written.

    Attributes
    ----------
    port : MemoryPort, as the core drives it. A command passes in the cycle in which the controller takes it;
        data comes a cycle after the controller gave it.

    Raises
    ------
    ValueError : the port is of another width than the beat, or cannot read and write.
    """

    def __init__(self, geometry: Geometry, port: LiteDRAMNativePort, depth: int = DEPTH) -> None:
        if (port.data_width, port.mode) != (geometry.beat_bits, "both"):
            raise ValueError(
                f"the memory port has beats of {geometry.beat_bits} bits both ways; expected a native port of"
                f" that kind, not {port.data_width} bits, {port.mode}: "
                f'ask for get_port("both", data_width={geometry.beat_bits})'
            )
        self.port = core = MemoryPort(geometry)
        self.data = data = stream.SyncFIFO(data_layout(geometry), depth)
        self.places = places = stream.SyncFIFO([("address", address_bits(geometry))], depth)
        self.words = words = stream.SyncFIFO(data_layout(geometry), depth)

        # # #

        # Commands: reads, until so many writes wait that they go all --------------------------------
        writing, room = Signal(), Signal(max=depth + 1, reset=depth)
        asked, written, readable = Signal(), Signal(), Signal()
        self.comb += [
            readable.eq(core.command.valid & (room != 0)),
            port.cmd.we.eq(writing),
            port.cmd.addr.eq(Mux(writing, places.source.address, core.command.address)),
            port.cmd.valid.eq(Mux(writing, places.source.valid, readable)),
            # A converter to wider words would gather commands, and lose what is not in ascending order.
            port.cmd.last.eq(1),
            core.command.ready.eq(~writing & (room != 0) & port.cmd.ready),
            places.source.ready.eq(writing & port.cmd.ready),
            asked.eq(core.command.valid & core.command.ready),
        ]
        self.sync += If(writing, writing.eq(places.source.valid)).Elif(
            ~readable | port.cmd.ready, writing.eq(places.source.valid & (~readable | ~places.sink.ready))
        )

        # Data: no more is asked for than there is room for, as the controller does not wait ---------
        self.comb += [port.rdata.connect(data.sink, omit={"last", "first"}), data.source.connect(core.data)]
        self.sync += room.eq(room - asked + (data.source.valid & data.source.ready))

        # Writes: the data stays at hand until the controller takes it -------------------------------
        pending = Signal(max=2 * depth + 1)
        accepted = Signal()
        self.comb += [
            core.write.ready.eq(places.sink.ready & words.sink.ready),
            accepted.eq(core.write.valid & core.write.ready),
            places.sink.valid.eq(accepted),
            places.sink.address.eq(core.write.address),
            words.sink.valid.eq(accepted),
            words.sink.data.eq(core.write.data),
            words.source.connect(port.wdata, omit={"last", "first"}),
            port.wdata.we.eq(2 ** len(port.wdata.we) - 1),
            written.eq(words.source.valid & words.source.ready),
            core.writes_pending.eq(pending != 0),
        ]
        self.sync += pending.eq(pending + accepted - written)
