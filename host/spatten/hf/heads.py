# SPDX-License-Identifier: BSD-2-Clause
"""Projections that compute the columns of live heads only; those of pruned heads are zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from .interface import layer_in_flight


class LiveProjection:
    """Stands in for the ``forward`` of a projection to Q, K or V, or to all three.

    Parameters
    ----------
    module : ``nn.Linear``, or transformers' ``Conv1D``, which stores its weights transposed.
    parts : 1, or 3 for Q, K and V side by side.
    heads : heads of the layer before pruning.
    """

    def __init__(self, module: nn.Module, parts: int, heads: int, forward: Callable[..., Any]) -> None:
        self._module, self._parts, self._heads, self._whole = module, parts, heads, forward
        self._key: tuple[object, ...] = ()
        self._sliced: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        layer = layer_in_flight()
        if layer is None or len(layer.heads) == self._heads:
            return self._whole(states)
        weight, bias = self._weights(layer.heads)
        live = functional.linear(states, weight, bias)
        dim = live.shape[-1] // (self._parts * len(layer.heads))
        out = states.new_zeros(*states.shape[:-1], self._parts, self._heads, dim)
        out[..., layer.heads, :] = live.view(*states.shape[:-1], self._parts, len(layer.heads), dim)
        return out.flatten(-3)

    def _weights(self, heads: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Rows of the live heads, kept until other heads live or the weights change."""
        weight, bias = self._module.weight, self._module.bias
        key = (heads.tobytes(), _state(weight), None if bias is None else _state(bias))
        if key != self._key or self._sliced is None:
            whole = weight if isinstance(self._module, nn.Linear) else weight.T
            self._sliced = self._rows(whole, heads), None if bias is None else self._rows(bias, heads)
            self._key = key
        return self._sliced

    def _rows(self, whole: torch.Tensor, heads: NDArray[np.intp]) -> torch.Tensor:
        grouped = whole.unflatten(0, (self._parts, self._heads, -1))
        return grouped[:, torch.from_numpy(heads)].flatten(0, 2).contiguous()


def _state(parameter: torch.Tensor) -> object:
    """Equal while a parameter is unchanged; one made in inference mode counts no changes: never equal."""
    return object() if parameter.is_inference() else (parameter.data_ptr(), parameter._version)
