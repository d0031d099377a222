# SPDX-License-Identifier: BSD-2-Clause
"""Bit fields of 32-bit words, described once as data.

The register table, the job descriptor and the answer are all tables of :class:`Word`. Gateware, driver,
documentation and tests read the same tables, so no offset or width is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .errors import OperandError


@dataclass(frozen=True)
class Field:
    """``width`` bits from bit ``lsb`` of a word; ``values`` names the legal encodings if they are few."""

    name: str
    lsb: int
    width: int
    description: str
    reset: int = 0
    values: Mapping[int, str] = field(default_factory=dict)
    #: The greatest value.
    mask: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", (1 << self.width) - 1)


@dataclass(frozen=True)
class Word:
    """A 32-bit word at word index ``index``. ``access`` is ``ro``, ``rw`` or ``wo`` as the host sees it."""

    name: str
    index: int
    fields: tuple[Field, ...]
    description: str = ""
    access: str = "rw"

    @property
    def reset(self) -> int:
        return sum(f.reset << f.lsb for f in self.fields)


@dataclass(frozen=True)
class Counter:
    """A 64-bit little-endian counter in the words ``index`` and ``index + 1``."""

    name: str
    index: int
    description: str


def whole(name: str, index: int, description: str, reset: int = 0, access: str = "rw") -> Word:
    """A word that is one field of 32 bits, of the word's own name."""
    return Word(name, index, (Field(name, 0, 32, description, reset),), description, access)


class Table(tuple[Word, ...]):
    """Words that are packed and unpacked with every job: where each of the dozens of fields lies is kept."""

    @cached_property
    def places(self) -> list[tuple[str, int, int, int, int]]:
        """Name, word index, lsb, mask and reset of every field."""
        return [(f.name, word.index, f.lsb, f.mask, f.reset) for word in self for f in word.fields]

    def field(self, name: str) -> Field:
        """A field by name."""
        return next(f for word in self for f in word.fields if f.name == name)

    @cached_property
    def place_of(self) -> dict[str, tuple[int, int, int]]:
        """Word index, lsb and mask of a field by name."""
        return {name: (index, lsb, mask) for name, index, lsb, mask, _ in self.places}

    def patched(self, words: Sequence[int], values: Mapping[str, int]) -> list[int]:
        """Packed words with these fields set anew; the others stay, and are not checked again.

        Raises
        ------
        OperandError : a value does not fit its field.
        """
        out = list(words)
        for name, value in values.items():
            index, lsb, mask = self.place_of[name]
            if not 0 <= value <= mask:
                raise self.misfit(name, value)
            out[index] = out[index] & ~(mask << lsb) | int(value) << lsb
        return out

    def misfit(self, name: str, value: int) -> OperandError:
        """What to raise for a value that does not fit its field."""
        f = self.field(name)
        return OperandError(f"{name} is {value}; expected 0 to {f.mask} ({f.width} bits): {f.description}")


def pack(words: Iterable[Word], values: Mapping[str, int], size: int) -> np.ndarray:
    """Field values by name into ``size`` little-endian words; fields without a value keep their reset.

    Raises
    ------
    OperandError : a value does not fit its field.
    """
    return np.array(packed(words, values, size), "<u4")


def packed(words: Iterable[Word], values: Mapping[str, int], size: int) -> list[int]:
    """As :func:`pack`, the words still plain numbers."""
    table, out = _table(words), [0] * size
    for name, index, lsb, mask, reset in table.places:
        value = values.get(name, reset)
        if not 0 <= value <= mask:
            raise table.misfit(name, value)
        out[index] |= int(value) << lsb
    return out


def unpack(words: Iterable[Word], data: np.ndarray) -> dict[str, int]:
    """The inverse of :func:`pack`."""
    numbers = data.tolist()
    return {name: numbers[index] >> lsb & mask for name, index, lsb, mask, _ in _table(words).places}


def _table(words: Iterable[Word]) -> Table:
    return words if isinstance(words, Table) else Table(words)


def reserved_bits(words: Iterable[Word], size: int) -> np.ndarray:
    """Per word the mask of bits that no field owns; they must be zero."""
    masks = np.full(size, 0xFFFFFFFF, "<u4")
    for word in words:
        for f in word.fields:
            masks[word.index] &= np.uint32(~(f.mask << f.lsb) & 0xFFFFFFFF)
    return masks
