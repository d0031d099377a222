# SPDX-License-Identifier: BSD-2-Clause
"""The two functions that transformers calls by the name ``"spatten"``: attention, and the mask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from ..errors import ModelError

NAME = "spatten"


class LayerInFlight(Protocol):
    """The layer whose block runs now."""

    #: Heads that are alive in at least one sequence of the batch, ascending.
    heads: NDArray[np.intp]

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor: ...


_in_flight: ContextVar[LayerInFlight | None] = ContextVar("spatten_layer", default=None)


def layer_in_flight() -> LayerInFlight | None:
    """The layer whose block runs in this thread, if an attached one does."""
    return _in_flight.get()


@contextmanager
def in_flight(layer: LayerInFlight) -> Iterator[None]:
    """Attention and projections called inside belong to ``layer``."""
    token = _in_flight.set(layer)
    try:
        yield
    finally:
        _in_flight.reset(token)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer on ``[1, heads, tokens, D]``; the answer is ``[1, tokens, heads, D]``."""
    layer = layer_in_flight()
    if layer is None:
        raise ModelError(
            f"{type(module).__name__} was called by itself or by a model that is not attached; call the "
            "model that holds it (BERT or GPT-2), or attach it with spatten.attach(model)"
        )
    return layer.attend(query, key, value, query.shape[-1] ** -0.5 if scaling is None else scaling), None


def mask(*, mask_function: Any, attention_mask: torch.Tensor | None, **_: Any) -> torch.Tensor | None:
    """The padding mask as it came, ``bool [batch, tokens so far]``: causality follows from the slots."""
    if mask_function not in (causal_mask_function, bidirectional_mask_function):
        raise ModelError(
            "the model asks for a mask that is neither causal nor bidirectional (packed sequences or a "
            "custom mask); SpAtten attends to whole sequences: pass a 2-D attention_mask, or one text a row"
        )
    return attention_mask


def register_functions() -> None:
    """Make both known to transformers. Without the mask a model would silently get none."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)
