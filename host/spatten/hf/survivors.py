# SPDX-License-Identifier: BSD-2-Clause
"""Which tokens live to the end of a pass: what a mean over tokens should read.

A pruned token keeps the state of the block that it left in, which is no answer of the last one.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

_KEY = "_spatten_survivors"


def survivors(model: PreTrainedModel, mask: torch.Tensor) -> torch.Tensor:
    """The tokens that lived to the end of a model's last pass, on a device or in training.

    Parameters
    ----------
    model : attached or not; where nothing prunes, all tokens live.
    mask : the pass's ``attention_mask [rows, tokens]``, 0 for padding.

    Returns
    -------
    ``bool [rows, tokens]``, with which to pool: ``hidden[0, alive[0]].mean(dim=0)``.
    """
    found: torch.Tensor | None = model.base_model.__dict__.get(_KEY)
    return mask.bool() if found is None else found


def leave_survivors(base_model: PreTrainedModel, alive: torch.Tensor | None) -> None:
    """Tell :func:`survivors` of a pass that ends, or that none is to be told of."""
    if alive is None:
        base_model.__dict__.pop(_KEY, None)
    else:
        base_model.__dict__[_KEY] = alive
