# SPDX-License-Identifier: BSD-2-Clause
"""K or V as planes of any number: what stands in memory, what a read of some planes gives, and its bytes.

The contract's rows (docs/contract.md, sections 2 and 3) with as many planes as a rule wants: the first plane
is signed, every further one holds the next bits, unsigned. Integers are floats of the caller's precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spatten_drivers.planes import padded, row_bytes
from spatten_drivers.quantize import SILENCE

#: One DRAM beat of the large preset. Rows of 64 elements of 4, 6, 8 and 12 bits are whole beats of it.
BEAT_BYTES = 16


@dataclass(frozen=True)
class Layout:
    """How a row lies in memory.

    Attributes
    ----------
    widths : of its planes, MSBs first.
    exponent_bits : if not 0, a row has a power of two of its own, this many bits in a table beside the
        planes: the scale of its head halved 0 to ``2**exponent_bits - 1`` times.
    """

    widths: tuple[int, ...]
    exponent_bits: int = 0

    @property
    def bits(self) -> int:
        """Of a whole integer."""
        return sum(self.widths)

    def below(self, depth: int) -> int:
        """Bits of an integer that its first ``depth`` planes leave out."""
        return self.bits - sum(self.widths[:depth])

    def __str__(self) -> str:
        planes = "+".join(map(str, self.widths))
        return f"{planes} bit, exponents" if self.exponent_bits else f"{planes} bit"


@dataclass(frozen=True)
class Rows:
    """K or V of one layer: integers ``[H, T, D]`` and the scale of each row ``[H, T]``."""

    layout: Layout
    integers: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def of(cls, values: torch.Tensor, layout: Layout) -> Rows:
        """Floats ``[H, T, D]`` on the grid of the host: one scale a head that fits all its rows."""
        limit = (1 << layout.bits - 1) - 1
        loud = values.abs().amax(dim=-1).clamp_min(SILENCE)
        peak = loud.amax(dim=-1, keepdim=True)
        halved = torch.floor(torch.log2(peak / loud)).clamp(0, (1 << layout.exponent_bits) - 1)
        scale = peak / limit * 2.0**-halved
        return cls(layout, torch.round(values / scale[..., None]).clamp(-limit, limit), scale)

    def upto(self, depth: int, *, middle: bool) -> torch.Tensor:
        """Integers with the first ``depth`` planes read; what was not read is zero, or its midpoint."""
        unread = 1 << self.layout.below(depth)
        return torch.floor(self.integers / unread) * unread + (unread // 2 if middle else 0)

    def bytes(self, depth: torch.Tensor, seen: torch.Tensor) -> int:
        """Bytes of one read by each query.

        ``depth [H, n, T]`` says how many planes of each row a query reads, ``seen [n, T]`` which rows it
        could see: their exponents are read, packed, before anything is decided.
        """
        heads, _, head_dim = self.integers.shape
        planes = sum(
            int((depth > plane).sum()) * row_bytes(head_dim, width, BEAT_BYTES)
            for plane, width in enumerate(self.layout.widths)
        )
        bits = [int(count) * self.layout.exponent_bits for count in seen.sum(dim=-1)]
        return planes + heads * sum(padded(-(-size // 8), BEAT_BYTES) for size in bits)
