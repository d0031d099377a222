# SPDX-License-Identifier: BSD-2-Clause
"""The whole way: frames through LiteEth's MAC, ARP, IP and UDP to our Etherbone core and back."""

from __future__ import annotations

import random

import pytest
from liteeth.common import eth_phy_description
from litex.gen import LiteXModule
from litex.soc.interconnect import stream, wishbone
from migen import ClockDomainsRenamer

from spatten_fpga.sim import Bench
from spatten_fpga.sim.frames import PREAMBLE, Host
from spatten_fpga.soc.etherbone import IP_ADDRESS, MAC_ADDRESS, UDP_PORT, Etherbone, udp_stack
from tests.drivers.devices.litex import test_faults
from tests.drivers.devices.litex.bridges import EtherboneSlave, System
from tests.drivers.devices.litex.faults import damaged
from tests.fpga.bridges.test_litex import DEPTH, WORDS, Memory, some_request

pytestmark = pytest.mark.deep
HOST = Host(UDP_PORT, UDP_PORT, IP_ADDRESS, "192.168.1.100", MAC_ADDRESS)


class Phy(LiteXModule):
    """Bytes of frames, of a gigabit PHY."""

    dw, tx_clk_freq, rx_clk_freq = 8, 125e6, 125e6

    def __init__(self) -> None:
        self.sink = stream.Endpoint(eth_phy_description(8))
        self.source = stream.Endpoint(eth_phy_description(8))


class Ethernet(LiteXModule):
    """LiteEth's stack as on a board, in one clock domain, and a memory."""

    def __init__(self) -> None:
        self.phy = phy = Phy()
        core = udp_stack(phy, 75e6)
        self.core = ClockDomainsRenamer({"eth_tx": "sys", "eth_rx": "sys"})(core)
        self.etherbone = bone = Etherbone(core.udp, depth=DEPTH)
        self.memory = wishbone.SRAM(4 * WORDS, bus=bone.bus)


class Board(EtherboneSlave):
    """Hands every packet to the model, and in a frame to the gateware; both must answer the same."""

    def __init__(self, bench: Bench, system: System) -> None:
        super().__init__(system, DEPTH)
        self._bench = bench
        bench.restart(1)

    def handle(self, packet: bytes) -> list[bytes]:
        answers = super().handle(packet)
        assert self.exchange(HOST.datagram(packet)) == answers
        return answers

    def exchange(self, frame: bytes) -> list[bytes]:
        """What comes back when a frame is sent; the board is told where the host is when it asks."""
        answers: list[bytes] = []
        while frame:
            last = len(frame) - 1
            tokens = [
                {"data": b, "last": int(i == last), "last_be": int(i == last)} for i, b in enumerate(frame)
            ]
            run = self._bench.run({"rx": tokens}, {}, after=2500, record={"tx": 4096})
            found, requests = HOST.split(bytes(token["data"] for token in run.tokens["tx"]))
            answers, frame = answers + found, HOST.arp_reply() if requests else b""
        return answers


@pytest.fixture(scope="module")
def ethernet() -> Bench:
    board = Ethernet()
    return Bench(board, {"rx": board.phy.source}, {"tx": board.phy.sink}, randomise=False)


def test_frames_that_are_damaged_do_nothing(ethernet: Bench) -> None:
    """Every other frame carries a burst of errors behind its preamble, which its check sum shows."""
    source, board = random.Random(4), Board(ethernet, Memory())
    for number in range(150):
        packet = some_request(source, 0xE0000000 + 4 * number)
        hurt = damaged(HOST.datagram(packet)[len(PREAMBLE) :], source)
        assert board.exchange(PREAMBLE + hurt) == []
        board.handle(packet)


def test_transfers_through_the_whole_stack(ethernet: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_faults, "System", Memory)
    monkeypatch.setattr(test_faults, "EtherboneSlave", lambda system, depth: Board(ethernet, system))
    bench = test_faults.Bench(test_faults.ALL_ON_THE_WIRE, seed=2)
    assert bench.play(300, seed=3) == {"right": 300}
