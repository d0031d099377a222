# SPDX-License-Identifier: BSD-2-Clause
"""Channels that lose, repeat, delay, reorder and damage what they carry, on a clock that costs no time."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from dataclasses import dataclass

from spatten_drivers.link.channel import Channel
from tests.drivers.devices.litex.bridges import EtherboneSlave, System, UartBridge

TRANSIT = 50e-6  # seconds a packet takes without faults


@dataclass(frozen=True)
class Faults:
    """Chances of each fault for each packet, or byte, in each direction.

    ``max_delay`` is the most seconds that a delayed or repeated packet comes late, so packets overtake each
    other. ``damage`` flips a burst of 1 to 32 bits. ``checked`` says that this is on the wire, where the
    check sum tells: the host's network card and our filter drop the frame. Otherwise nobody sees it, as in a
    switch's memory.
    """

    loss: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    damage: float = 0.0
    max_delay: float = 0.04
    checked: bool = False


class FaultyNetwork(Channel):
    """Datagrams between a host and LiteEth's core."""

    def __init__(self, slave: EtherboneSlave, faults: Faults, seed: int = 0) -> None:
        self.name, self.slave, self.faults = "faulty network", slave, faults
        self.injected: Counter[str] = Counter()
        self._random, self._time, self._order = random.Random(seed), 0.0, 0
        self._events: list[tuple[float, int, bool, bytes]] = []  # when, order, to the board, packet
        self._arrived: deque[bytes] = deque()

    def send(self, data: bytes) -> None:
        self._launch(data, to_board=True)

    def receive(self, size: int, timeout: float) -> bytes:
        end = self._time + timeout
        while not self._arrived and self._events and self._events[0][0] <= end:
            self._step()
        if self._arrived:
            return self._arrived.popleft()
        self._time = max(self._time, end)
        return b""

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        end = self._time + seconds
        while self._events and self._events[0][0] <= end:
            self._step()
        self._time = end

    def _step(self) -> None:
        self._time, _, to_board, packet = heapq.heappop(self._events)
        if not to_board:
            self._arrived.append(packet)
            return
        for answer in self.slave.handle(packet):
            self._launch(answer, to_board=False)

    def _launch(self, packet: bytes, to_board: bool) -> None:
        if self._happens("damage"):
            packet = damaged(packet, self._random)
            if self.faults.checked:
                return
        if self._happens("loss"):
            return
        late = self._random.uniform(0, self.faults.max_delay) if self._happens("delay") else 0.0
        self._schedule(late, to_board, packet)
        if self._happens("repeat"):
            self._schedule(late + self._random.uniform(0, self.faults.max_delay), to_board, packet)

    def _schedule(self, late: float, to_board: bool, packet: bytes) -> None:
        self._order += 1
        heapq.heappush(self._events, (self._time + TRANSIT + late, self._order, to_board, packet))

    def _happens(self, fault: str) -> bool:
        if self._random.random() >= getattr(self.faults, fault):
            return False
        self.injected[fault] += 1
        return True


class FaultyLine(Channel):
    """A serial line to a UART bridge, byte by byte. The bridge is deaf while it answers."""

    BYTE = 10 / 115200

    def __init__(self, system: System, faults: Faults, seed: int = 0) -> None:
        self.name, self.faults = "faulty line", faults
        self.injected: Counter[str] = Counter()
        self.bridge = UartBridge(system, lambda: self._sent)
        self._random, self._time, self._sent = random.Random(seed), 0.0, 0.0
        self._coming: deque[tuple[float, int]] = deque()
        self._free = 0.0  # when the line to the host is free again

    def send(self, data: bytes) -> None:
        self._sent = max(self._sent, self._time)
        for byte in data:
            for arrived in self._through(byte):
                self._sent += self.BYTE
                if self._sent < self._free:
                    self.injected["deaf"] += 1
                    continue
                for answer in self.bridge.handle(arrived):
                    for back in self._through(answer):
                        self._free = max(self._free, self._sent) + self.BYTE
                        self._coming.append((self._free, back))

    def receive(self, size: int, timeout: float) -> bytes:
        self.sleep(0.0)
        end = self._time + timeout
        if self._coming and self._time < self._coming[0][0] <= end:
            self._time = self._coming[0][0]
        data = bytearray()
        while self._coming and len(data) < size and self._coming[0][0] <= self._time:
            data.append(self._coming.popleft()[1])
        if not data:
            self._time = max(self._time, end)
        return bytes(data)

    def now(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        self._time += seconds

    def _through(self, byte: int) -> list[int]:
        if self._happens("damage"):
            byte ^= 1 << self._random.randrange(8)
        if self._happens("loss"):
            return []
        return [byte, byte] if self._happens("repeat") else [byte]

    def _happens(self, fault: str) -> bool:
        if self._random.random() >= getattr(self.faults, fault):
            return False
        self.injected[fault] += 1
        return True


def damaged(packet: bytes, source: random.Random) -> bytes:
    """``packet`` with a burst of 1 to 32 bits in which the first and last are flipped."""
    length = source.randint(1, 32)
    burst = source.getrandbits(length) | 1 | 1 << length - 1
    shift = source.randrange(8 * len(packet) - length + 1)
    return (int.from_bytes(packet, "big") ^ burst << shift).to_bytes(len(packet), "big")
