# SPDX-License-Identifier: BSD-2-Clause
"""A GPT-2 at its beginning."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

#: The texts are seen several times over.
DROPOUT = 0.1


def new_model(config: GPT2Config, seed: int) -> GPT2LMHeadModel:
    """Random weights that depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def gpt2_config(vocab_size: int, width: int = 256, layers: int = 6, positions: int = 1024) -> GPT2Config:
    """A GPT-2 with heads of 64, as the accelerator takes them; token 0 begins and ends a text."""
    return GPT2Config(
        vocab_size=vocab_size,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=width // 64,
        resid_pdrop=DROPOUT,
        embd_pdrop=DROPOUT,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        activation_function="gelu_pytorch_tanh",  # gelu_new in one kernel
        attn_implementation="sdpa",
    )
