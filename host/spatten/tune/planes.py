# SPDX-License-Identifier: BSD-2-Clause
"""Q, K and V on the job's grids, in floats: what the device reads; gradients pass straight through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch

from spatten_drivers.planes import LSB_WIDTH
from spatten_drivers.quantize import SILENCE


@dataclass(frozen=True)
class Rows:
    """K or V of all columns on their grid, in pieces: a cache that grows by a row does not copy the others.

    Attributes
    ----------
    pieces : ``[B, H, columns, D]`` each, one behind the other.
    """

    pieces: tuple[torch.Tensor, ...]

    def against(self, queries: torch.Tensor) -> torch.Tensor:
        """Inner products ``[B, H, n, columns]`` of ``queries [B, H, n, D]``."""
        return _joined([queries @ piece.transpose(-1, -2) for piece in self.pieces], dim=-1)

    def weighted(self, weights: torch.Tensor) -> torch.Tensor:
        """Sums ``[B, H, n, D]`` by ``weights [B, H, n, columns]``."""
        parts = weights.split([piece.shape[2] for piece in self.pieces], dim=-1)
        return reduce(torch.add, map(torch.matmul, parts, self.pieces))

    def grown(self, new: torch.Tensor) -> Rows:
        """With columns behind those that there are."""
        first, *rest = self.pieces
        return Rows((first, torch.cat([*rest, new], dim=2)))

    def whole(self) -> torch.Tensor:
        """In one piece."""
        return _joined(self.pieces, dim=2)


def _joined(pieces: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """All of them; one alone, as without a cache there is, is not copied."""
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=dim)


#: In full precision, and with the MSB plane alone where that can be asked for.
Planes = tuple[Rows, Rows | None]


def needed_scale(values: torch.Tensor, live: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale ``float64 [B, H]`` of the rows of ``values [B, H, n, D]`` that ``live [B, n]`` names."""
    peak = (values.detach().abs().amax(dim=-1) * live[:, None]).amax(dim=-1).double()
    return peak.clamp_min(SILENCE) / ((1 << bits - 1) - 1)


def grown_scale(current: torch.Tensor | None, needed: torch.Tensor) -> torch.Tensor:
    """The scale of a cache after a new row: doubled until it holds the row, as ``growth="double"`` does."""
    if current is None:
        return needed
    doublings = torch.ceil(torch.log2((needed / current).clamp_min(1.0)) - 1e-9)
    return current * 2.0**doublings


def rounded(values: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """``values`` at the nearest of ``2 * limit + 1`` steps; the gradient is that of the identity."""
    limit, inverse = (1 << bits - 1) - 1, (1.0 / scale).to(values.dtype)[:, :, None, None]
    steps = torch.round(values.detach() * inverse).clamp(-limit, limit)
    return _straight(values, steps * scale.to(values.dtype)[:, :, None, None])


def truncated(whole: torch.Tensor, scale: torch.Tensor, midpoint: bool) -> torch.Tensor:
    """Of rounded values the MSB plane alone: four bits dropped, V's ones read as their midpoint."""
    step, weight = scale.to(whole.dtype)[:, :, None, None], 1 << LSB_WIDTH
    steps = torch.floor(torch.round(whole.detach() / step) / weight) * weight + midpoint * (weight // 2)
    return _straight(whole, steps * step)


def _straight(values: torch.Tensor, onto: torch.Tensor) -> torch.Tensor:
    return values + (onto - values).detach()
