# SPDX-License-Identifier: BSD-2-Clause
"""The link behind LiteEth's own MAC, ARP, IP and UDP, and a host's end of an Ethernet cable in Python."""

from __future__ import annotations

import struct
import zlib

from liteeth.common import convert_ip, eth_phy_description
from liteeth.core import LiteEthUDPIPCore
from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from migen import ClockDomainsRenamer

from spatten_drivers.link.format import UDP_PORT
from spatten_fpga.link.udp import UdpLink
from spatten_fpga.sim.bench import Bench

from .board import Board, SimulatedTransport

DEVICE_MAC, HOST_MAC = 0x10E2D5000001, 0x020000000002
DEVICE_IP, HOST_IP = "192.168.1.50", "192.168.1.5"
HOST_PORT = 40123
PREAMBLE = bytes([0x55] * 7 + [0xD5])
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
        core = LiteEthUDPIPCore(self.cable, DEVICE_MAC, DEVICE_IP, 75e6, dw=32, with_icmp=False)
        self.udp = UdpLink(core.udp, self.board.link)
        self.core = ClockDomainsRenamer({"eth_tx": "sys", "eth_rx": "sys"})(core)


def checksum(header: bytes) -> int:
    """Of an IPv4 header."""
    total = sum(struct.unpack(f">{len(header) // 2}H", header))
    return ~(total % 0xFFFF) & 0xFFFF


def datagram(payload: bytes) -> bytes:
    """A frame from the host to the link, without preamble and FCS."""
    udp = struct.pack(">4H", HOST_PORT, UDP_PORT, 8 + len(payload), 0) + payload
    places = convert_ip(HOST_IP), convert_ip(DEVICE_IP)
    header = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, *places)
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return DEVICE_MAC.to_bytes(6, "big") + HOST_MAC.to_bytes(6, "big") + b"\x08\x00" + header + udp


def arp_answer(question: bytes) -> bytes:
    """To a question for the host's address."""
    me = HOST_MAC.to_bytes(6, "big") + convert_ip(HOST_IP).to_bytes(4, "big")
    body = struct.pack(">HHBBH", 1, 0x800, 6, 4, 2) + me + question[22:32]
    return question[6:12] + HOST_MAC.to_bytes(6, "big") + b"\x08\x06" + body


def on_the_wire(frame: bytes) -> list[dict[str, int]]:
    """Bytes of a frame with what a MAC puts around it."""
    frame = frame.ljust(60, b"\0")
    line = PREAMBLE + frame + zlib.crc32(frame).to_bytes(4, "little")
    return [{"data": byte, "last": int(i == len(line) - 1)} for i, byte in enumerate(line)]


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
        self._run(on_the_wire(datagram(packet)), 20)

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
        assert frame[:8] == PREAMBLE
        frame = frame[8:]
        assert zlib.crc32(frame[:-4]).to_bytes(4, "little") == frame[-4:]
        if frame[12:14] == b"\x08\x06":
            self._run(on_the_wire(arp_answer(frame)), 20)
        else:
            assert frame[26:38] == convert_ip(DEVICE_IP).to_bytes(4, "big") + convert_ip(HOST_IP).to_bytes(
                4, "big"
            ) + struct.pack(">HH", UDP_PORT, HOST_PORT)
            size = int.from_bytes(frame[38:40], "big")
            self._answers.append(frame[42 : 34 + size])
