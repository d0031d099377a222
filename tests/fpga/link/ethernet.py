# SPDX-License-Identifier: BSD-2-Clause
"""The link behind LiteEth's own MAC, ARP, IP and UDP, and a host's end of an Ethernet cable in Python."""

from __future__ import annotations

from liteeth.common import eth_phy_description
from liteeth.core import LiteEthUDPIPCore
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import ClockDomainsRenamer

from spatten_drivers.link.format import UDP_PORT
from spatten_fpga.link.udp import UdpLink
from spatten_fpga.sim.bench import Bench
from spatten_fpga.sim.frames import Host

from .board import Board, SimulatedTransport

HOST = Host(UDP_PORT, 40123, "192.168.1.50", "192.168.1.5", 0x10E2D5000001)
FRAME_BYTES = 1 << 15  # that may leave in a run
WAIT, WAITS = 3000, 6


class Cable(LiteXModule):
    """A PHY whose cable ends in the bench: bytes with preamble and FCS."""

    dw = 8

    def __init__(self) -> None:
        self.source = stream.Endpoint(eth_phy_description(8))
        self.sink = stream.Endpoint(eth_phy_description(8))


class EthernetBoard(LiteXModule):
    """A board with a link on Ethernet; the MAC's clocks are the system's."""

    def __init__(self) -> None:
        self.board = Board(16)
        self.cable = Cable()
        core = LiteEthUDPIPCore(self.cable, HOST.board_mac, HOST.address, 75e6, dw=32, with_icmp=False)
        self.udp = UdpLink(core.udp, self.board.link)
        self.core = ClockDomainsRenamer({"eth_tx": "sys", "eth_rx": "sys"})(core)


def on_the_wire(frame: bytes) -> list[dict[str, int]]:
    """Bytes of a frame."""
    return [{"data": byte, "last": int(i == len(frame) - 1)} for i, byte in enumerate(frame)]


class EthernetTransport(SimulatedTransport):
    """A host on that cable: it answers ARP and takes datagrams.

    Attributes
    ----------
    frames, gaps : frames of the device of which all cycles are known, and those among them that did not leave
        a byte a cycle, as a PHY needs them.
    """

    def __init__(self) -> None:
        dut = EthernetBoard()
        super().__init__("simulated ethernet", WAIT, WAITS)
        self.bench = Bench(
            dut,
            {"line": dut.cable.source},
            {"out": dut.cable.sink, "pushed": dut.board.scratch.pushed},
            inputs={"fault": dut.board.link.port.fault},
        )
        self.journal: list[int] = []
        self.frames = self.gaps = 0
        self._frame: list[int] = []

    def send(self, packet: bytes) -> None:
        self._run(on_the_wire(HOST.datagram(packet)), 20)

    def _run(self, tokens: list[dict[str, int]], after: int) -> None:
        record = {"out": FRAME_BYTES, "pushed": 1024}
        run = self.bench.run({"line": tokens}, {}, record=record, after=after)
        self.journal += [token["data"] for token in run.tokens["pushed"]]
        start = None if self._frame else 0  # of the frame in this run; None: it began in one before
        for place, token in enumerate(run.tokens["out"]):
            self._frame.append(token["data"])
            if token["last"]:
                if start is not None:
                    self.frames += 1
                    self.gaps += run.cycles["out"][place] - run.cycles["out"][start] != place - start
                frame, self._frame, start = bytes(self._frame), [], place + 1
                self._came(frame)

    def _came(self, frame: bytes) -> None:
        datagrams, questions = HOST.split(frame)
        self._answers += datagrams
        if questions:
            self._run(on_the_wire(HOST.arp_reply()), 20)
