# SPDX-License-Identifier: BSD-2-Clause
"""LiteX's two bridges in Python, state machine by state machine, also where they do harm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

RAM, RAM_BYTES = 0x4000_0000, 1 << 14
MARKER = (0x1000, 0x54415053)  # a register that reads SPAT
SCRATCH = 0x1008
COUNTER = 0x100C  # counts the writes to it, as pushes of jobs do


class System:
    """A bus with memory and a few registers; nobody answers elsewhere."""

    def __init__(self) -> None:
        self.ram = np.zeros(RAM_BYTES // 4, np.uint32)
        self.registers = {MARKER[0]: MARKER[1], SCRATCH: 0, COUNTER: 0}
        self.bus_errors = 0

    def read(self, address: int) -> int:
        if RAM <= address < RAM + RAM_BYTES:
            return int(self.ram[(address - RAM) // 4])
        if address not in self.registers:
            self.bus_errors += 1
            return 0xFFFFFFFF
        return self.registers[address]

    def write(self, address: int, value: int, enable: int = 0xF) -> None:
        if RAM <= address < RAM + RAM_BYTES:
            mask = sum(0xFF << 8 * i for i in range(4) if enable >> i & 1)
            word = (address - RAM) // 4
            self.ram[word] = int(self.ram[word]) & ~mask & 0xFFFFFFFF | value & mask
        elif address == COUNTER:
            self.registers[COUNTER] += 1
        elif address == SCRATCH:
            self.registers[SCRATCH] = value
        else:
            self.bus_errors += 1


class EtherboneSlave:
    """Our gateware's core (``spatten_fpga.soc.etherbone``): whole records are done, all else is dropped."""

    def __init__(self, system: System, depth: int) -> None:
        self.system, self.depth, self.dropped, self.mute = system, depth, 0, False

    def handle(self, packet: bytes) -> list[bytes]:
        """Answers to a datagram."""
        words = [int.from_bytes(packet[at : at + 4], "big") for at in range(0, len(packet) - 3, 4)]
        writes, reads = packet[10:11] or b"\0", packet[11:12] or b"\0"
        return [] if self.mute else self._record(packet, words, writes[0], reads[0])

    def _record(self, packet: bytes, words: list[int], writes: int, reads: int) -> list[bytes]:
        behind = (writes + 1 if writes else 0) + (reads + 1 if reads else 0)
        probe = len(packet) > 2 and packet[2] & 1
        odd = behind > self.depth or (behind and (packet[9] != 0xF or probe))
        if len(packet) != 4 * (3 + behind) or odd:
            self.dropped += 1
            return []
        if packet[:2] != b"\x4e\x6f":
            return []
        if probe:  # is answered by itself with another flag
            return [packet[:2] + bytes([0x10 | packet[2] & 4 | 2, 0x44]) + bytes(4) + packet[8:]]
        for i, word in enumerate(words[4 : 4 + writes]):
            self.system.write((words[3] & ~3) + 4 * i & 0xFFFFFFFF, word)
        if not reads:
            return []
        tag, *addresses = words[-reads - 1 :]
        answer = [tag, *(self.system.read(address & ~3) for address in addresses)]
        head = bytes.fromhex("4e6f104400000000") + bytes([0, 0x0F, reads, 0])
        return [head + b"".join(word.to_bytes(4, "big") for word in answer)]


class UartBridge:
    """LiteX's ``Stream2Wishbone``; ``now`` is the time of the byte that comes."""

    FORGETS = 0.1  # seconds after which half a command is forgotten

    def __init__(self, system: System, now: Callable[[], float]) -> None:
        self.system, self._now = system, now
        self._command: list[int] = []
        self._began = 0.0
        self._written = 0

    def handle(self, byte: int) -> bytes:
        """What is sent back when a byte has come."""
        if self._command and self._now() - self._began >= self.FORGETS:
            self._command = []
        if not self._command:
            self._began, self._written = self._now(), 0
        self._command.append(byte)
        if len(self._command) < 6:
            return b""
        kind, count = self._command[:2]
        address = 4 * int.from_bytes(bytes(self._command[2:6]), "big")
        if kind in (2, 4):
            self._command = []
            step = 4 if kind == 2 else 0
            words = (self.system.read(address + step * i & 0xFFFFFFFF) for i in range(count or 64))
            return b"".join(word.to_bytes(4, "big") for word in words)
        if kind in (1, 3):
            self._write(kind, count, address)
            return b""
        self._command = []
        return b""

    def _write(self, kind: int, count: int, address: int) -> None:
        data = bytes(self._command[6:])
        if len(data) == 4 * (self._written + 1):
            offset = 4 * self._written if kind == 1 else 0
            self.system.write(address + offset & 0xFFFFFFFF, int.from_bytes(data[-4:], "big"))
            self._written += 1
        if self._written == count != 0:
            self._command = []
