# SPDX-License-Identifier: BSD-2-Clause
"""The link as datagrams of LiteEth."""

from __future__ import annotations

from liteeth.common import eth_udp_user_description
from litex.gen import *
from litex.soc.interconnect import stream
from migen import *

from spatten_drivers.link.format import UDP_PORT

from .layouts import packet_layout, whole_layout

PORT_BITS = 16
WHOLE = 0b1000  # last_be of a last word of which all bytes count


class UdpAdapter(LiteXModule):
    """A packet a datagram; an answer goes to the address and port that the request came from.

    What comes passes a register; what goes, one for its ready, as LiteEth's chain of those is long.

    Parameters
    ----------
    port : UDP port that requests are sent to. The rest is seen by LiteEth.

    Attributes
    ----------
    received : Endpoint, in, of ``eth_udp_user_description(32)``.
    source : Endpoint, out, of :func:`.packet_layout`.
    sink : Endpoint, in, of :func:`.whole_layout`.
    sent : Endpoint, out, of ``eth_udp_user_description(32)``; without gaps, as the MAC wants it.
    """

    def __init__(self, port: int = UDP_PORT) -> None:
        self.received = received = stream.Endpoint(eth_udp_user_description(32))
        self.source = stream.Endpoint(packet_layout())
        self.sink = stream.Endpoint(whole_layout())
        self.sent = sent = stream.Endpoint(eth_udp_user_description(32))

        # # #

        # Requests ---------------------------------------------------------------------------------
        self.inward = inward = stream.Buffer(packet_layout())
        self.comb += [
            received.connect(inward.sink, keep={"valid", "ready", "last", "data"}),
            inward.sink.damaged.eq((received.last_be != WHOLE) | (received.error != 0)),
            inward.sink.peer.eq(Cat(received.src_port, received.ip_address)),
            inward.source.connect(self.source),
        ]

        # Answers ----------------------------------------------------------------------------------
        self.outward = outward = stream.PipeReady(whole_layout())
        answer = outward.source
        self.comb += [
            self.sink.connect(outward.sink),
            answer.connect(sent, keep={"valid", "ready", "last", "data"}),
            If(answer.last, sent.last_be.eq(WHOLE)),
            sent.error.eq(0),
            sent.src_port.eq(port),
            sent.dst_port.eq(answer.peer[:PORT_BITS]),
            sent.ip_address.eq(answer.peer[PORT_BITS:]),
            sent.length.eq(Cat(C(0, 2), answer.words)),
        ]


class UdpLink(LiteXModule):
    """A :class:`.LinkEndpoint` at a port of LiteEth's UDP core.

    Parameters
    ----------
    udp : ``LiteEthUDPIPCore.udp``.
    link : the endpoint.
    port : UDP port.
    """

    def __init__(self, udp: LiteXModule, link: LiteXModule, port: int = UDP_PORT) -> None:
        self.adapter = adapter = UdpAdapter(port)
        user = udp.crossbar.get_port(port, dw=32)
        self.comb += [
            user.source.connect(adapter.received),
            adapter.source.connect(link.sink),
            link.source.connect(adapter.sink),
            adapter.sent.connect(user.sink),
        ]
