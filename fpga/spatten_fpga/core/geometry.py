# SPDX-License-Identifier: BSD-2-Clause
"""What the configuration implies for the shape of the core: every width and depth is derived here, once.

A *segment* is what the converter makes at a time; a *word* is what an array takes a cycle: an element a lane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from spatten_drivers import AcceleratorConfig
from spatten_drivers.config import ABI_MAJOR, ABI_MINOR
from spatten_drivers.errors import ConfigError

Q_BITS = 12  # widest query element
WEIGHT_BITS = 16  # e
SUM_BITS = 26  # S
MULT_BITS = 16  # score_mult, importance_mult
SHIFT_BITS = 6  # score_shift to 48, importance_shift to 47
EXPONENT_LIMIT = 17 << 12  # x from which on the weight is 0
RECIPROCAL_BITS = 18  # R
GAIN_BITS = 36  # e * w
TOKEN_SUM_BITS = 51  # t_j
IMPORTANCE_BITS = 32  # running token importance
HEAD_SUM_BITS = 33  # A_h
HEAD_IMPORTANCE_BITS = 48  # running head importance
OUTPUT_BITS = 16  # o


@dataclass(frozen=True)
class Geometry:
    """Derived sizes of a core.

    Parameters
    ----------
    config : the configuration it is built for.

    Raises
    ------
    ConfigError : it speaks an older version of the contract than this gateware.
    """

    config: AcceleratorConfig

    def __post_init__(self) -> None:
        if self.config.abi_minor != ABI_MINOR:
            raise ConfigError(
                f"this gateware speaks contract {ABI_MAJOR}.{ABI_MINOR}, the configuration {self.config.abi};"
                " build an older one from its release"
            )

    @property
    def lanes(self) -> int:
        """Multipliers of an array: elements of a word."""
        return self.config.lanes

    @property
    def segment(self) -> int:
        """Elements that the converter makes at a time. Divides 32, so it divides every head dimension."""
        return min(32, self.lanes, 2 * self.config.beat_bytes)

    @property
    def keys_a_word(self) -> int:
        """Most keys of a word: those of the smallest head dimension. 1 if a key takes a word or more."""
        return max(1, self.lanes // min(self.padded_dims))

    @cached_property
    def padded_dims(self) -> tuple[int, ...]:
        """Head dimensions as the lanes see them: 96 takes the place of 128."""
        return tuple(1 << (dim - 1).bit_length() for dim in self.config.head_dims)

    @property
    def operand_bits(self) -> int:
        """Width of an element of K or V on chip, signed."""
        return self.config.operand_bits

    @cached_property
    def score_bits(self) -> int:
        """Width of a score, signed: see "No sum overflows" in docs/contract.md."""
        largest = max(self.config.head_dims) << (Q_BITS - 1 + self.operand_bits - 1)
        return largest.bit_length() + 1

    @property
    def distance_bits(self) -> int:
        """Width of a distance between two scores, unsigned."""
        return self.score_bits

    @property
    def accumulator_bits(self) -> int:
        """Width of ``sum of e * v``, signed."""
        return self.operand_bits + SUM_BITS

    @property
    def beat_bits(self) -> int:
        """Width of the memory port."""
        return 8 * self.config.beat_bytes

    @cached_property
    def index_bits(self) -> int:
        """Width of a place in the key list."""
        return (self.config.max_sequence - 1).bit_length()

    @property
    def outputs(self) -> int:
        """Output elements that leave the probability x V array a cycle: enough for 128 keys at D = 64."""
        return max(1, self.lanes // 128)

    def keys_per_word(self, dim: int) -> int:
        """Keys of a word at a head dimension, 0 where a key takes several words."""
        return self.lanes // (1 << (dim - 1).bit_length())

    def words_per_key(self, dim: int) -> int:
        """Words that a key takes, at least 1."""
        return -(-dim // self.lanes)

    @cached_property
    def buffer_words(self) -> int:
        """Words of an operand buffer: ``kv_buffer_rows`` keys of any head dimension, at least 1."""
        rows = self.config.kv_buffer_rows
        return max(1, *(self.words_of_keys(rows, dim) for dim in self.config.head_dims))

    def words_of_keys(self, keys: int, dim: int) -> int:
        """Words that so many keys of a head dimension take."""
        together = self.keys_per_word(dim)
        return -(-keys // together) if together else keys * self.words_per_key(dim)
