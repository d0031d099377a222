# SPDX-License-Identifier: BSD-2-Clause
"""Bit fields of 32-bit words, described once as data.

The register table, the job descriptor and the answer are all tables of :class:`Word`. Gateware, driver,
documentation and tests read the same tables, so no offset or width is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

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
    #: The greatest value; kept, since every job packs and unpacks dozens of fields.
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


def pack(words: Iterable[Word], values: Mapping[str, int], size: int) -> np.ndarray:
    """Field values by name into ``size`` little-endian words; fields without a value keep their reset.

    Raises
    ------
    OperandError : a value does not fit its field.
    """
    out = [0] * size
    for word in words:
        for f in word.fields:
            value = values.get(f.name, f.reset)
            if not 0 <= value <= f.mask:
                raise OperandError(
                    f"{f.name} is {value}; expected 0 to {f.mask} ({f.width} bits): {f.description}"
                )
            out[word.index] |= int(value) << f.lsb
    return np.array(out, "<u4")


def unpack(words: Iterable[Word], data: np.ndarray) -> dict[str, int]:
    """The inverse of :func:`pack`."""
    numbers = data.tolist()
    return {f.name: numbers[word.index] >> f.lsb & f.mask for word in words for f in word.fields}


def reserved_bits(words: Iterable[Word], size: int) -> np.ndarray:
    """Per word the mask of bits that no field owns; they must be zero."""
    masks = np.full(size, 0xFFFFFFFF, "<u4")
    for word in words:
        for f in word.fields:
            masks[word.index] &= np.uint32(~(f.mask << f.lsb) & 0xFFFFFFFF)
    return masks
