# SPDX-License-Identifier: BSD-2-Clause
"""The bridges of the gateware, compiled: they do what the Python ones do, on which the driver's tests rest.

Every packet and byte goes to both, also under faults, and both must answer the same.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from liteeth.core.udp import LiteEthUDPUserPort
from litex.gen import LiteXModule
from litex.soc.cores.uart import Stream2Wishbone
from litex.soc.interconnect import wishbone
from litex.tools.remote import etherbone as reference

from spatten_drivers.devices.litex.etherbone import encode_request
from spatten_fpga.sim import Bench
from spatten_fpga.soc.etherbone import Etherbone
from tests.drivers.devices.litex import test_faults
from tests.drivers.devices.litex.bridges import EtherboneSlave, System, UartBridge
from tests.drivers.devices.litex.faults import damaged

WORDS = 4096
DEPTH = 64
CLOCK = 10_000  # Hz of the UART bridge, so that it forgets half a command after 1,000 cycles


class Memory(System):
    """What ``wishbone.SRAM`` is: its words again and again over all addresses."""

    def read(self, address: int) -> int:
        return int(self.ram[address // 4 % WORDS])

    def write(self, address: int, value: int, enable: int = 0xF) -> None:
        mask = sum(0xFF << 8 * i for i in range(4) if enable >> i & 1)
        word = address // 4 % WORDS
        self.ram[word] = int(self.ram[word]) & ~mask & 0xFFFFFFFF | value & mask


class EtherboneCore(LiteXModule):
    """Our Etherbone core and a memory; datagrams go in and out where it asks a UDP crossbar for a port."""

    def __init__(self) -> None:
        self.crossbar, self.port = self, LiteEthUDPUserPort(32)
        self.etherbone = core = Etherbone(self, depth=DEPTH)
        self.memory = wishbone.SRAM(4 * WORDS, bus=core.bus)

    def get_port(self, udp_port: int, dw: int, cd: str) -> LiteEthUDPUserPort:
        return self.port


class UartCore(LiteXModule):
    """LiteX's UART bridge and a memory."""

    def __init__(self) -> None:
        self.bridge = bridge = Stream2Wishbone(clk_freq=CLOCK)
        self.memory = wishbone.SRAM(4 * WORDS, bus=bridge.wishbone)


class BothSlaves(EtherboneSlave):
    """Hands every packet to the model and to the core."""

    def __init__(self, bench: Bench, system: System) -> None:
        self._bench = bench
        bench.restart(1)  # memory keeps its words over a reset
        super().__init__(system, DEPTH)

    def handle(self, packet: bytes, flagged: int = -1) -> list[bytes]:
        """``flagged`` is a word of the packet with LiteEth's error flag: the core must drop the whole."""
        answers = [] if flagged >= 0 else super().handle(packet)
        data = b"".join(answers)
        run = self._bench.run(
            {"request": _tokens(packet, flagged)},
            {"answer": len(data) // 4},
            offer=0.9,
            take=0.7,
            after=150,
            limit=5000,
        )
        words = [token["data"].to_bytes(4, "little") for token in run.tokens["answer"]]
        assert b"".join(words) == data
        lasts = [i for i, token in enumerate(run.tokens["answer"]) if token["last"]]
        assert lasts == list(np.cumsum([len(answer) // 4 for answer in answers]) - 1)
        return answers


def _tokens(packet: bytes, flagged: int) -> list[dict[str, int]]:
    words = [int.from_bytes(packet[at : at + 4], "little") for at in range(0, len(packet), 4)]
    last = len(words) - 1
    return [
        {
            "data": word,
            "last": int(i == last),
            "last_be": 8 * (i == last),
            "length": len(packet),
            "error": 15 * (i == flagged),
        }
        for i, word in enumerate(words)
    ]


@pytest.fixture(scope="module")
def etherbone() -> Bench:
    core = EtherboneCore()
    return Bench(core, {"request": core.port.source}, {"answer": core.port.sink}, randomise=False)


@pytest.fixture(scope="module")
def uart() -> Bench:
    core = UartCore()
    return Bench(core, {"request": core.bridge.sink}, {"answer": core.bridge.source}, randomise=False)


def some_request(source: random.Random, tag: int) -> bytes:
    """A record that the core's buffer holds: writes, reads, or both."""
    writes = source.choice([0, 1, source.randint(1, 30)])
    reads = source.randint(0 if writes else 1, DEPTH - 2 - writes)
    words = np.array([source.getrandbits(32) for _ in range(writes)], np.uint32)
    addresses = np.array([4 * source.randrange(WORDS) for _ in range(reads)], np.uint32)
    return encode_request(4 * source.randrange(WORDS), words, tag, addresses)


def test_records_are_encoded_as_litex_does() -> None:
    source = random.Random(1)
    for tag in range(0, 400, 4):
        ours = some_request(source, tag)
        packet = reference.EtherbonePacket(init=ours)
        packet.decode()
        (record,) = packet.records
        again = reference.EtherbonePacket()
        again.records = [copy := reference.EtherboneRecord()]
        if record.writes is not None:
            copy.writes = reference.EtherboneWrites(
                base_addr=record.writes.base_addr, datas=record.writes.get_datas()
            )
        if record.reads is not None:
            copy.reads = reference.EtherboneReads(base_ret_addr=tag, addrs=record.reads.get_addrs())
        again.encode()
        assert bytes(again.bytes) == ours


@pytest.mark.deep
def test_the_core_answers_as_the_model_of_the_tests(etherbone: Bench) -> None:
    """Good records, and ones that are flagged, damaged, short, long, or probes."""
    source, both = random.Random(2), BothSlaves(etherbone, Memory())
    for number in range(400):
        packet = some_request(source, 0xE0000000 + 4 * number)
        kind = source.randrange(10)
        if kind == 0:
            both.handle(packet, flagged=source.randrange(len(packet) // 4))
        elif kind == 1:
            both.handle(damaged(packet, source))
        elif kind == 2:
            both.handle(packet[: 4 * source.randrange(3, len(packet) // 4)])
        elif kind == 3:
            both.handle(packet + bytes(4 * source.choice([1, 60, 600])))
        elif kind == 4:
            both.handle(
                encode_request(0, np.arange(DEPTH, dtype=np.uint32), 0, np.arange(2, dtype=np.uint32))
            )
        elif kind == 5:
            both.handle(bytes.fromhex("4e6f114400000000 00000000"))
        elif kind == 6:
            both.handle(packet[:2] + bytes([packet[2] | 1]) + packet[3:])
        else:
            both.handle(packet)
    assert both.dropped > 50


@pytest.mark.deep
def test_the_core_under_faults(etherbone: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transfers of the driver's tests, with the gateware at the other end."""
    monkeypatch.setattr(test_faults, "System", Memory)
    monkeypatch.setattr(test_faults, "EtherboneSlave", lambda system, depth: BothSlaves(etherbone, system))
    bench = test_faults.Bench(test_faults.ALL_ON_THE_WIRE, seed=1)
    assert bench.play(1000, seed=2) == {"right": 1000}
    assert bench.counts["lost"] > 60


class BothBridges(UartBridge):
    """Hands every byte to the model and to the gateware, and lets the same time pass."""

    def __init__(self, bench: Bench, system: System) -> None:
        self.time = 0.0
        super().__init__(system, lambda: self.time)
        self._bench = bench
        bench.restart(1)

    def handle(self, byte: int) -> bytes:
        answer = super().handle(byte)
        run = self._bench.run({"request": [{"data": byte}]}, {"answer": len(answer)}, take=0.5, after=8)
        assert bytes(token["data"] for token in run.tokens["answer"]) == answer
        return answer

    def pause(self) -> None:
        """As long as it takes to forget half a command."""
        self._bench.tick(CLOCK // 10 + 100)
        self.time += 0.2


@pytest.mark.deep
def test_the_uart_bridge_answers_as_the_model_of_the_tests(uart: Bench) -> None:
    """Whole commands, broken ones with a silence behind, and kinds that it does not know."""
    source, both = random.Random(3), BothBridges(uart, Memory())
    for _ in range(150):
        count = source.randint(1, 12)
        command = bytes([source.choice([1, 2, 3, 4, 7]), count]) + source.randrange(WORDS).to_bytes(4, "big")
        if command[0] in (1, 3):
            command += source.randbytes(4 * count)
        if broken := source.random() < 0.2:
            command = command[: source.randrange(1, len(command))]
        for byte in command:
            both.handle(byte)
        if broken:
            both.pause()
