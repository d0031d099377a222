# SPDX-License-Identifier: BSD-2-Clause
"""What has to be known of a model's modules: where its blocks, projections and positions are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ..errors import ModelError


class Family(NamedTuple):
    """One kind of model.

    Attributes
    ----------
    causal : a query sees its own and earlier tokens only, and a cache grows.
    blocks : the layers of the base model.
    projections : of a block, as (module, how many of Q, K, V it computes).
    before_ffn : of a block, the module after which pruned tokens are dropped; ``None`` drops them after the
        block, where the residual of the block needs all of them.
    tokens : of the base model, the module that looks token ids up.
    positions : of the base model, the module that is called with position ids or with the input itself.
    refuses : why a configuration is not supported, or "".
    """

    causal: bool
    blocks: Callable[[Any], nn.ModuleList]
    projections: Callable[[Any], list[tuple[nn.Module, int]]]
    before_ffn: Callable[[Any], nn.Module] | None
    tokens: Callable[[Any], nn.Module]
    positions: Callable[[Any], nn.Module]
    refuses: Callable[[Any], str]


def _bert_refusal(config: Any) -> str:
    if config.is_decoder or config.add_cross_attention:
        return "as a decoder"
    # The number of tokens in an FFN is whatever pruning left; chunks would have to divide it.
    return "with chunk_size_feed_forward" if config.chunk_size_feed_forward else ""


def _gpt2_refusal(config: Any) -> str:
    return "with cross attention" if config.add_cross_attention else ""


FAMILIES: dict[str, Family] = {
    "bert": Family(
        causal=False,
        blocks=lambda model: model.encoder.layer,
        projections=lambda block: [
            (getattr(block.attention.self, name), 1) for name in ("query", "key", "value")
        ],
        before_ffn=lambda block: block.attention,
        tokens=lambda model: model.embeddings.word_embeddings,
        positions=lambda model: model.embeddings,
        refuses=_bert_refusal,
    ),
    "gpt2": Family(
        causal=True,
        blocks=lambda model: model.h,
        projections=lambda block: [(block.attn.c_attn, 3)],
        before_ffn=None,
        tokens=lambda model: model.wte,
        positions=lambda model: model.wpe,
        refuses=_gpt2_refusal,
    ),
}


def family_of(model: Any) -> Family:
    """The family of a base model.

    Raises
    ------
    ModelError : neither a BERT nor a GPT-2, or one that is used in a way SpAtten has no hardware for.
    """
    kind = getattr(model.config, "model_type", type(model).__name__)
    if kind not in FAMILIES:
        raise ModelError(f"{type(model).__name__} is a {kind}; expected a model of {sorted(FAMILIES)}")
    family = FAMILIES[kind]
    if reason := family.refuses(model.config):
        raise ModelError(
            f"{type(model).__name__} {reason} is not supported; expected a BERT that encodes, its "
            "FFN whole, or a GPT-2 without cross attention"
        )
    return family
