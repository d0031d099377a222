# SPDX-License-Identifier: BSD-2-Clause
"""Etherbone for a host that wants an answer to every write: LiteEth's core behind a filter for whole records.

LiteEth 2024.12 does three things that a host cannot see or mend:

* It acts on a frame whose check sum is wrong: the error is flagged to the end, and the core does not look.
* A record longer than its buffer, or shorter than its counts say, blocks it until reset; so does a probe with
  a record.
* In a record that writes and reads, the return address is not taken off the stream: it is read as the first
  address, and the last address becomes the base of the next record's writes.

The filter keeps back what is not a whole and good record; the third is one missing ``ready``, added here.
"""

from __future__ import annotations

from liteeth.common import eth_phy_description, eth_udp_user_description
from liteeth.core import LiteEthUDPIPCore
from liteeth.core.udp import LiteEthUDPUserPort
from liteeth.frontend.etherbone import LiteEthEtherbone
from litex.gen import LiteXModule
from litex.soc.interconnect import stream, wishbone
from litex.soc.interconnect.packet import PacketFIFO
from migen import ClockDomainsRenamer, If, Mux, Signal

UDP_PORT = 1234
IP_ADDRESS, MAC_ADDRESS = "192.168.1.50", 0x10E2D5000000  # LiteX's usual ones
#: Words of a record behind its header: base address, words written, return address, addresses read.
DEPTH = 256
LUT_RAM_WORDS = 16  # of a cell of ECP5
HEADER_WORDS = 3  # of packet and record
_FRAME_WORDS = 512  # more than an Ethernet frame has


class RecordFilter(LiteXModule):
    """Lets datagrams through that are whole Etherbone records without an error.

    A datagram is kept until its end has been seen. It goes on if no part of it was flagged, all bytes are
    enabled, its length is that of its counts, it fits ``depth`` words, and it is no probe with a record;
    else it is dropped.

    Attributes
    ----------
    sink, source : datagrams of 32-bit words, as from LiteEth's UDP crossbar.
    dropped : how many were not let through, modulo 2^32.
    """

    def __init__(self, depth: int) -> None:
        layout = eth_udp_user_description(32)
        self.sink, self.source = stream.Endpoint(layout), stream.Endpoint(layout)
        self.dropped = Signal(32)
        kept = stream.EndpointDescription(layout.payload_layout, [*layout.param_layout, ("bad", 1)])
        self.fifo = fifo = PacketFIFO(kept, payload_depth=_FRAME_WORDS, param_depth=1, buffered=True)

        sink, count, flagged = self.sink, Signal(max=_FRAME_WORDS), Signal()
        header, held, probe = Signal(32), Signal(32), Signal()
        writes, reads, words, expected = Signal(8), Signal(8), Signal(10), Signal(10)
        too_long, bad = Signal(), Signal()
        self.comb += [
            header.eq(Mux(count == HEADER_WORDS - 1, sink.data, held)),
            writes.eq(header[16:24]),
            reads.eq(header[24:32]),
            words.eq(Mux(writes != 0, writes + 1, 0) + Mux(reads != 0, reads + 1, 0)),
            expected.eq(words + HEADER_WORDS),
            too_long.eq(count == _FRAME_WORDS - 2),
            bad.eq(
                flagged
                | (sink.error != 0)
                | (count + 1 != expected)
                | (sink.length != expected << 2)
                | (words > depth)
                | (probe & (words != 0))
                | ((words != 0) & (header[8:16] != 0xF))
            ),
            sink.connect(fifo.sink, omit={"valid", "ready"}),
            fifo.sink.bad.eq(bad),
            fifo.sink.valid.eq(
                sink.valid & (~too_long | sink.last)
            ),  # of an endless one only the end is kept
            sink.ready.eq(fifo.sink.ready),
            fifo.source.connect(self.source, omit={"valid", "ready", "bad"}),
            self.source.valid.eq(fifo.source.valid & ~fifo.source.bad),
            fifo.source.ready.eq(self.source.ready | fifo.source.bad),
        ]
        self.sync += [
            If(
                sink.valid & sink.ready,
                If(count == 0, probe.eq(sink.data[16])),
                If(count == HEADER_WORDS - 1, held.eq(sink.data)),
                If(~too_long, count.eq(count + 1)),
                flagged.eq(flagged | (sink.error != 0)),
                If(sink.last, count.eq(0), flagged.eq(0), held.eq(0)),
            ),
            If(
                fifo.source.valid & fifo.source.ready & fifo.source.last & fifo.source.bad,
                self.dropped.eq(self.dropped + 1),
            ),
        ]


class Etherbone(LiteXModule):
    """A bus master that a host drives over UDP.

    Parameters
    ----------
    udp : LiteEth's, such as ``LiteEthUDPIPCore(...).udp``, in the clock domain ``cd``.
    depth : words of a record that are buffered; the host must know it.

    Attributes
    ----------
    bus : for the system on chip.
    filter : with the count of datagrams that were dropped.
    """

    def __init__(self, udp, udp_port: int = UDP_PORT, depth: int = DEPTH, cd: str = "sys") -> None:
        port = udp.crossbar.get_port(udp_port, dw=32, cd=cd)
        self.filter = records = RecordFilter(depth)
        inner = LiteEthUDPUserPort(32)
        self.core = core = LiteEthEtherbone(_OnePort(inner), udp_port, buffer_depth=depth)
        self.bus: wishbone.Interface = core.wishbone.bus
        receiver = core.record.receiver
        receiver.fsm.act("RECEIVE_BASE_RET_ADDR", receiver.fifo.source.ready.eq(1))
        self.comb += [
            port.source.connect(records.sink),
            records.source.connect(inner.source),
            inner.sink.connect(port.sink),
        ]


class _OnePort:
    """What LiteEth's core asks for a port of a UDP crossbar."""

    def __init__(self, port: LiteEthUDPUserPort) -> None:
        self.crossbar, self.dw, self._port = self, 32, port

    def get_port(self, udp_port: int, dw: int, cd: str) -> LiteEthUDPUserPort:
        return self._port


def udp_core(soc, phy, *, ip_address: str = IP_ADDRESS, mac_address: int = MAC_ADDRESS) -> LiteEthUDPIPCore:
    """Give a system LiteEth's stack up to UDP; links share it.

    Parameters
    ----------
    soc : :class:`.SpattenSoc`, not finalised yet.
    phy : of LiteEth; a submodule of the system already.
    """
    core = udp_stack(phy, soc.sys_clk_freq, ip_address, mac_address)
    soc.add_module("ethcore", core)
    return core


def udp_stack(
    phy, clock: float, ip_address: str = IP_ADDRESS, mac_address: int = MAC_ADDRESS
) -> LiteEthUDPIPCore:
    """LiteEth's stack up to UDP.

    It is 32 bits wide in the system's clock, so that only the MAC's ends run at the PHY's; without ICMP,
    whose chain of ready signals is the longest of LiteEth's. Between the clocks are as many words as one cell
    of LUT RAM holds: with LiteEth's 32 each bit has two, and a multiplexer in the slowest path of 125 MHz.
    """
    core = LiteEthUDPIPCore(
        phy,
        mac_address,
        ip_address,
        int(clock),
        dw=32,
        with_sys_datapath=True,
        with_icmp=False,
        tx_cdc_depth=LUT_RAM_WORDS,
        rx_cdc_depth=LUT_RAM_WORDS,
    )
    _register_transmitter(core)
    return core


def _register_transmitter(core: LiteEthUDPIPCore) -> None:
    """End the chain of ready behind the FIFO into the transmit clock.

    At 125 MHz it would go from the gap between frames through the converter of widths to the FIFO's read
    pointer and its memory: 8.6 ns of 8 on an ECP5 of speed grade 6.
    """
    pipeline = core.mac.core.tx_datapath.pipeline
    place = next(i for i, stage in enumerate(pipeline) if isinstance(stage, stream.ClockDomainCrossing))
    register = stream.Buffer(eth_phy_description(32), pipe_valid=True, pipe_ready=True)
    core.transmit_register = ClockDomainsRenamer("eth_tx")(register)
    pipeline.insert(place + 1, core.transmit_register)


def add_etherbone(soc, core: LiteEthUDPIPCore, udp_port: int = UDP_PORT, depth: int = DEPTH) -> None:
    """Make Etherbone a host of a system, and tell its ``csr.json`` so.

    Parameters
    ----------
    core : of :func:`udp_core`.
    """
    etherbone = Etherbone(core.udp, udp_port, depth)
    soc.add_module("etherbone", etherbone)
    soc.add_host("etherbone", etherbone.bus)
    soc.add_constant("SPATTEN_ETHERBONE_DEPTH", depth)
