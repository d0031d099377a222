# SPDX-License-Identifier: BSD-2-Clause
"""What a schedule changes on some texts, beside eager attention in float32 with the same weights.

No labels are needed, so any text will do; ``make quality`` measures labelled tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from .catalog import LoadedModel
from .errors import InputError
from .hf import auto_attach_disabled, survivors
from .record import RunRecord
from .runs.tasks import Step, Target

#: Share of a text that GPT-2 reads as its prompt; the rest is fed token by token, as generation does.
PROMPT_SHARE = 0.5


@dataclass(frozen=True)
class Fidelity:
    """``measures`` by name; ``record`` is what the device did, for the bytes."""

    task: str
    texts: int
    measures: dict[str, float]
    record: RunRecord


def evaluate(
    loaded: LoadedModel, texts: Sequence[str], target: Target, step: Step = lambda: None
) -> Fidelity:
    """Every text once in eager attention and once on the device.

    Raises
    ------
    InputError : a text is longer than the model allows, or too short to predict anything.
    """
    outputs = _PASSES[loaded.task]
    inputs = [_encoded(loaded, text) for text in texts]
    with torch.inference_mode():
        eager = []
        with auto_attach_disabled():
            for tokens in inputs:
                eager.append(outputs(loaded.model, tokens))
                step()
        with target.attach(loaded.model) as session:
            pruned = []
            for tokens in inputs:
                pruned.append(outputs(loaded.model, tokens))
                step()
            return Fidelity(loaded.task, len(texts), _MEASURES[loaded.task](eager, pruned), session.record)


def _encoded(loaded: LoadedModel, text: str) -> torch.Tensor:
    tokens = loaded.tokenizer(text, return_tensors="pt")["input_ids"]
    least = 4 if loaded.task == "generation" else 1
    if not least <= tokens.shape[1] <= loaded.max_tokens:
        raise InputError(
            f"text {text[:40]!r} has {tokens.shape[1]} tokens; {loaded.name} evaluates {least} to "
            f"{loaded.max_tokens}. Lengthen or split it"
        )
    return tokens


def _embed(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that live to the end, as ``spatten run`` takes it."""
    states = model(tokens).last_hidden_state
    return states[survivors(model, torch.ones_like(tokens))].mean(dim=0)


def _classify(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    return model(tokens).logits[0].softmax(dim=-1)


def _surprise(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood of each token after the prompt, fed one by one through the cache."""
    prompt = max(1, int(PROMPT_SHARE * tokens.shape[1]))
    answer = model(tokens[:, :prompt], use_cache=True)
    losses = []
    for position in range(prompt, tokens.shape[1]):
        token = tokens[:, position]
        losses.append(torch.nn.functional.cross_entropy(answer.logits[:, -1], token))
        answer = model(
            tokens[:, position : position + 1], past_key_values=answer.past_key_values, use_cache=True
        )
    return torch.stack(losses)


def _cosines(eager: list[torch.Tensor], pruned: list[torch.Tensor]) -> dict[str, float]:
    pairs = zip(eager, pruned, strict=True)
    cosines = [float(torch.nn.functional.cosine_similarity(a, b, dim=0)) for a, b in pairs]
    return {"mean cosine to eager": fmean(cosines), "worst cosine to eager": min(cosines)}


def _agreement(eager: list[torch.Tensor], pruned: list[torch.Tensor]) -> dict[str, float]:
    pairs = list(zip(eager, pruned, strict=True))
    return {
        "same label as eager": fmean(float(a.argmax() == b.argmax()) for a, b in pairs),
        "largest change of a probability": max(float((a - b).abs().max()) for a, b in pairs),
    }


def _perplexities(eager: list[torch.Tensor], pruned: list[torch.Tensor]) -> dict[str, float]:
    before, after = (math.exp(float(torch.cat(losses).mean())) for losses in (eager, pruned))
    return {"perplexity, eager": before, "perplexity, device": after, "ratio": after / before}


_Pass = Callable[[Any, torch.Tensor, Any], torch.Tensor]
_PASSES: dict[str, _Pass] = {
    "embedding": _embed,
    "similarity": _embed,
    "classification": _classify,
    "generation": _surprise,
}
_MEASURES: dict[str, Callable[[list[torch.Tensor], list[torch.Tensor]], dict[str, float]]] = {
    "embedding": _cosines,
    "similarity": _cosines,
    "classification": _agreement,
    "generation": _perplexities,
}
