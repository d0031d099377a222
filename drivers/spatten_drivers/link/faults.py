# SPDX-License-Identifier: BSD-2-Clause
"""A transport that misbehaves on purpose, the same way every time: for tests and for trying out a program."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from .transport import Transport


@dataclass(frozen=True)
class FaultRates:
    """Chance of each fault for each packet, in each direction.

    Attributes
    ----------
    loss : the packet never comes.
    duplication : it comes twice, the second time perhaps late.
    delay : it comes after up to ``longest_delay`` packets that were sent later, so also out of order.
    swap : it changes places with the next one.
    bit_errors : one to eight bits of it are flipped.
    truncation : its end is missing, whole words or not.
    noise : something that never was a packet comes before it.
    longest_delay : packets.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delay: float = 0.0
    swap: float = 0.0
    bit_errors: float = 0.0
    truncation: float = 0.0
    noise: float = 0.0
    longest_delay: int = 40

    @classmethod
    def all(cls, rate: float) -> FaultRates:
        """Every fault at the same rate."""
        return cls(rate, rate, rate, rate, rate, rate, rate)


class FaultyTransport(Transport):
    """A transport with faults in both directions.

    Parameters
    ----------
    inner : the transport that the faults are put on.
    rates : of the faults.
    seed : of the random numbers.

    Attributes
    ----------
    faults : how many there were of each kind.
    """

    def __init__(self, inner: Transport, rates: FaultRates, seed: int) -> None:
        self.name = f"{inner.name} with faults"
        self.bytes_per_second = inner.bytes_per_second
        self.faults: Counter[str] = Counter()
        self._inner = inner
        self._out = FaultyPath(rates, random.Random(f"{seed} out"), self.faults)
        self._in = FaultyPath(rates, random.Random(f"{seed} in"), self.faults)

    def send(self, packet: bytes) -> None:
        for each in self._out.carry(packet):
            self._inner.send(each)

    def receive(self, timeout: float) -> bytes | None:
        while (packet := self._in.next()) is None:
            came = self._inner.receive(timeout)
            if came is None:
                return self._in.late()
            self._in.put(came)
        return packet

    def now(self) -> float:
        return self._inner.now()

    def close(self) -> None:
        self._inner.close()


class FaultyPath:
    """One direction of a line with faults.

    Parameters
    ----------
    rates : of the faults.
    draws : of chance.
    faults : counts them, by kind.
    """

    def __init__(self, rates: FaultRates, draws: random.Random, faults: Counter[str]) -> None:
        self._rates = rates
        self._draws = draws
        self._faults = faults
        self._ready: list[bytes] = []
        self._held: list[tuple[int, bytes]] = []  # when to let go, counted in packets; and the packet
        self._count = 0

    def carry(self, packet: bytes) -> list[bytes]:
        """What comes out when this goes in."""
        self.put(packet)
        out, self._ready = self._ready, []
        return out

    def next(self) -> bytes | None:
        """The next packet that is due."""
        return self._ready.pop(0) if self._ready else None

    def late(self) -> bytes | None:
        """A packet that was held up and comes though nothing else does."""
        return self._held.pop(0)[1] if self._held and self._draws.random() < 0.5 else None

    def put(self, packet: bytes) -> None:
        """A packet goes in."""
        rates, draws = self._rates, self._draws
        self._count += 1
        if self._hit("noise", rates.noise):
            self._ready.append(draws.randbytes(draws.choice((0, 1, 4, 23, 24, 1432, 3000))))
        if not self._hit("loss", rates.loss):
            self._travel(self._damaged(packet))
        if self._hit("duplication", rates.duplication):
            self._travel(packet)
        due = [each for each in self._held if each[0] <= self._count]
        self._held = [each for each in self._held if each[0] > self._count]
        self._ready += [each for _, each in due]

    def _travel(self, packet: bytes) -> None:
        if self._hit("delay", self._rates.delay):
            self._held.append((self._count + self._draws.randint(1, self._rates.longest_delay), packet))
        elif self._hit("swap", self._rates.swap):
            self._held.append((self._count + 1, packet))
        else:
            self._ready.append(packet)

    def _damaged(self, packet: bytes) -> bytes:
        if packet and self._hit("bit_errors", self._rates.bit_errors):
            changed = bytearray(packet)
            for _ in range(self._draws.randint(1, 8)):
                changed[self._draws.randrange(len(changed))] ^= 1 << self._draws.randrange(8)
            packet = bytes(changed)
        if self._hit("truncation", self._rates.truncation):
            packet = packet[: self._draws.randrange(len(packet) or 1)]
        return packet

    def _hit(self, name: str, rate: float) -> bool:
        hit = self._draws.random() < rate
        self._faults[name] += hit
        return hit
