# SPDX-License-Identifier: BSD-2-Clause
"""Q, K and V on the job's grids, in floats: what the device reads; gradients pass straight through."""

from __future__ import annotations

import torch

from spatten_drivers.planes import LSB_WIDTH
from spatten_drivers.quantize import SILENCE


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
