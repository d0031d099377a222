# SPDX-License-Identifier: BSD-2-Clause
"""Which tokens live to the end of a pass: what a mean over tokens should read.

A pruned token keeps the state of the block that it left in, which is no answer of the last one.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from ..errors import InputError

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

    Raises
    ------
    InputError : the mask is of another pass.
    """
    found: torch.Tensor | None = model.base_model.__dict__.get(_KEY)
    if found is None:
        return mask.bool()
    if found.shape != mask.shape:
        raise InputError(
            f"attention_mask is {list(mask.shape)}; the model's last pass had {list(found.shape)}, rows and "
            "tokens. Give the mask of that pass"
        )
    return found.to(mask.device)


def leave_survivors(base_model: PreTrainedModel, alive: torch.Tensor | None) -> None:
    """Tell :func:`survivors` of a pass that ends, or that none is to be told of."""
    if alive is None:
        base_model.__dict__.pop(_KEY, None)
    else:
        base_model.__dict__[_KEY] = alive
