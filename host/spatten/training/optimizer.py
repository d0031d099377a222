# SPDX-License-Identifier: BSD-2-Clause
"""Muon for the matrices inside the blocks, AdamW for embeddings, norms and biases.

Muon learns these matrices in fewer steps than AdamW; it makes no sense for a vector, nor for an embedding,
whose rows are looked up one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import Module, Parameter
from torch.optim import AdamW, Muon, Optimizer

MUON_RATE = 6e-3
ADAM_RATE = 3e-3
WEIGHT_DECAY = 0.2
CLIP = 1.0


class Optimizers:
    """Both optimizers as one; a factor scales their learning rates together."""

    def __init__(self, model: Module) -> None:
        matrices, tables, vectors = _grouped(model.named_parameters())
        self._all: list[Optimizer] = [
            # This rule gives a tall and a wide matrix the same step: GPT-2 stores its matrices transposed.
            Muon(matrices, lr=MUON_RATE, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            AdamW(
                [{"params": tables, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
                lr=ADAM_RATE,
                betas=(0.9, 0.95),
            ),
        ]
        self._rates = (MUON_RATE, ADAM_RATE)
        self._parameters = [*matrices, *tables, *vectors]

    def step(self, factor: float) -> None:
        """Clip, update every parameter at ``factor`` times its learning rate, and clear the gradients."""
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
        for optimizer, rate in zip(self._all, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimizer, state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)


def _grouped(named: Iterable[tuple[str, Parameter]]) -> tuple[list[Parameter], ...]:
    """(matrices of the blocks, embedding tables, vectors)."""
    matrices, tables, vectors = [], [], []
    for name, parameter in named:
        inside = ".h." in name
        (vectors if parameter.ndim < 2 else matrices if inside else tables).append(parameter)
    return matrices, tables, vectors
