# SPDX-License-Identifier: BSD-2-Clause
"""Bytes to integers and back (contract, sections 3 and 9); all words little-endian."""

from __future__ import annotations

from dataclasses import dataclass

from .oracle_format import HEADER_BYTES, JOB_FIELDS, get_field

SLOT_MASK, PROTECTED_BIT = 0x7FFF, 0x8000


def pad(n_bytes: int, beat_bytes: int) -> int:
    """`n_bytes` rounded up to a multiple of the beat."""
    return -(-n_bytes // beat_bytes) * beat_bytes


def row_bytes(head_dim: int, width: int, beat_bytes: int) -> int:
    """Bytes from one row of a plane to the next."""
    return pad(head_dim * width // 8, beat_bytes)


def read_words(memory: bytearray, address: int, count: int, n_bytes: int) -> list[int]:
    """`count` unsigned words of `n_bytes` bytes."""
    places = range(address, address + count * n_bytes, n_bytes)
    return [int.from_bytes(memory[place : place + n_bytes], "little") for place in places]


def write_words(memory: bytearray, address: int, words: list[int], n_bytes: int, beat_bytes: int = 1) -> None:
    """Write words of `n_bytes` bytes, negative ones in two's complement; the last beat ends in zeros."""
    data = b"".join((word % (1 << 8 * n_bytes)).to_bytes(n_bytes, "little") for word in words)
    length = pad(len(data), beat_bytes)
    memory[address : address + length] = data.ljust(length, b"\0")


def read_row(memory: bytearray, address: int, head_dim: int, width: int, signed: bool) -> list[int]:
    """The `head_dim` elements of one row of a plane; element i is bits i*width to i*width + width - 1."""
    number = int.from_bytes(memory[address : address + head_dim * width // 8], "little")
    elements = [number >> i * width & (1 << width) - 1 for i in range(head_dim)]
    sign = 1 << width - 1
    return [(e ^ sign) - sign for e in elements] if signed else elements


@dataclass(frozen=True)
class Head:
    """One entry of the head table."""

    head_id: int
    score_shift: int
    score_mult: int
    importance_mult: int
    importance_shift: int
    reserved: int

    @classmethod
    def read(cls, memory: bytearray, address: int) -> Head:
        """Read the 8 bytes of an entry."""
        head_id, score_shift = memory[address : address + 2]
        score_mult, importance_mult = read_words(memory, address + 2, 2, 2)
        importance_shift, reserved = memory[address + 6 : address + 8]
        return cls(head_id, score_shift, score_mult, importance_mult, importance_shift, reserved)


class Descriptor:
    """The descriptor at `address`: header fields by name, and where the three tables lie."""

    def __init__(self, memory: bytearray, address: int, beat_bytes: int) -> None:
        self.memory, self.address, self.beat_bytes = memory, address, beat_bytes
        self.words = read_words(memory, address, HEADER_BYTES // 4, 4)
        self.fields = {name: get_field(self.words, place) for name, place in JOB_FIELDS.items()}

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    def pad(self, n_bytes: int) -> int:
        """Round up to a beat of this device."""
        return pad(n_bytes, self.beat_bytes)

    def row(self, width: int) -> int:
        """Bytes of a row of elements of `width` bits."""
        return row_bytes(self["head_dim"], width, self.beat_bytes)

    @property
    def keys_address(self) -> int:
        return self.address + HEADER_BYTES + self.pad(8 * self["n_heads"])

    @property
    def queries_address(self) -> int:
        return self.keys_address + self.pad(2 * self["n_keys"])

    @property
    def end(self) -> int:
        """The first address after the tables, as the counts of the header give it."""
        return self.queries_address + self.pad(2 * self["n_queries"])

    @property
    def written_control(self) -> int:
        """Bytes of the answer: header, surviving tokens, surviving heads."""
        return HEADER_BYTES + self.pad(2 * self["keep_tokens"]) + self.pad(2 * self["keep_heads"])

    def heads(self) -> list[Head]:
        """The live heads."""
        start = self.address + HEADER_BYTES
        return [Head.read(self.memory, start + 8 * i) for i in range(self["n_heads"])]

    def key_words(self) -> list[int]:
        """The live keys: slot in bits 0 to 14, protected in bit 15."""
        return read_words(self.memory, self.keys_address, self["n_keys"], 2)

    def query_slots(self) -> list[int]:
        """The slots of the queries."""
        return read_words(self.memory, self.queries_address, self["n_queries"], 2)
