# SPDX-License-Identifier: BSD-2-Clause
"""Merging against dropping on MiniLM: the same survivors in number, so the same bytes, without tuning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spatten_drivers import Quantization

from ..catalog import LoadedModel, load
from ..quality.head import fitted
from ..quality.tasks import TASKS, Classification, Sample
from ..schedule import Schedule, paper_schedule
from ..tune.measure import BATCH
from ..tune.state import State
from ..tune.surrogate import Decision, stays, surrogate
from .merge import Merge, alike, nearest

Progress = Callable[[str, int, int], None]

#: Average shares of tokens behind the front, and the number format, which costs nothing by itself.
SHARES = (0.5, 0.3)
FORMAT = Quantization.static(8)
#: Rows that a head is trained on, and at how many tokens a text is cut.
TRAIN, MAX_TOKENS = {"sentiment": 1200, "spam": 300}, 64


@dataclass(frozen=True)
class Variant:
    """What becomes of a pruned token; ``spread``: pooled with the state of its survivor."""

    name: str
    merge: Callable[[], Merge] | None = None
    spread: bool = False


VARIANTS = (
    Variant("dropped, as a device's host does"),
    Variant("merged into the nearest survivor of the text", lambda: Merge(nearest)),
    Variant("merged into the survivor most alike", lambda: Merge(alike)),
    Variant("merged into the most alike, pooled by size", lambda: Merge(alike), spread=True),
    Variant("dropped, pooled as the most alike", lambda: Merge(alike, mixes=False), spread=True),
)


def compare(
    size: int, folder: Path, seed: int = 0, progress: Progress = lambda *_: None
) -> list[dict[str, Any]]:
    """Scores of ``size`` test texts by task, share and variant; what was measured stays in ``folder``.

    The first of a task has share 1: nothing is pruned.
    """
    state = State(folder, {"size": size, "seed": seed, "train": TRAIN, "max_tokens": MAX_TOKENS})
    found = []
    for task in TASKS:
        if isinstance(task, Classification) and task.name in TRAIN:
            bench = _Bench(replace(task, train_size=TRAIN[task.name], development=0), Sample(size, seed))
            names = [(1.0, VARIANTS[0]), *((share, variant) for share in SHARES for variant in VARIANTS)]
            for done, (share, variant) in enumerate(names):
                progress(f"{task.name}: merging", done, len(names))
                part = state.once(
                    f"{task.name} {share} {variant.name}", lambda b=bench, s=share, v=variant: b.scores(s, v)
                )
                found.append(
                    {"task": task.name, "title": task.title, "share": share, "variant": variant.name, **part}
                )
    return found


class _Bench:
    """A task with a head trained on float embeddings, once a variant is asked for."""

    def __init__(self, task: Classification, sample: Sample) -> None:
        self.task, self.sample = task, sample
        self._ready: tuple[LoadedModel, Any] | None = None

    def scores(self, share: float, variant: Variant) -> dict[str, Any]:
        """Right or wrong by text, and K and V bytes below 16 bit."""
        train, test = self.task.examples(self.sample)
        if self._ready is None:
            loaded = load(self.task.model)
            embedded, _ = encoded(loaded, [example.text for example in train])
            self._ready = loaded, fitted(embedded, [example.label for example in train])
        loaded, head = self._ready
        layers = loaded.model.config.num_hidden_layers
        schedule = paper_schedule(layers, tokens=share, quantization=FORMAT, protect_first=1, protect_last=1)
        embedded, x16 = encoded(loaded, [example.text for example in test], schedule, variant)
        right = head.predict(embedded) == np.array([example.label for example in test])
        return {"scores": right.astype(float).tolist(), "x16": x16}


def encoded(
    loaded: LoadedModel,
    texts: Sequence[str],
    schedule: Schedule | None = None,
    variant: Variant = VARIANTS[0],
) -> tuple[NDArray[np.float64], float]:
    """Unit means over all tokens ``[texts, hidden]``, in float or as a schedule prunes; and the byte ratio.

    The ratio is K and V rows of all tokens at 16 bit over those of live tokens and heads at the schedule's 8:
    each is fetched once a layer and head, as the contract's reuse mode has it.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found: list[Any] = [None] * len(texts)
    live = whole = 0
    told: list[Decision] = []
    merge = variant.merge() if variant.merge else None
    pruned = (
        surrogate(loaded.model, schedule, watch=told.append, settle=merge or stays)
        if schedule
        else nullcontext()
    )
    with torch.inference_mode(), pruned:
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            batch = loaded.tokenizer(
                [texts[i] for i in places],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            states, real = loaded.model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            if merge and variant.spread:
                states = merge.spread(states)
            means = torch.nn.functional.normalize((states * real).sum(dim=1) / real.sum(dim=1), dim=-1)
            for place, mean in zip(places, means.double().numpy(), strict=True):
                found[place] = mean
            live += sum(int((d.keys.sum(dim=1) * d.heads.sum(dim=1)).sum()) for d in told)
            whole += len(told) * int(real.sum()) * loaded.model.config.num_attention_heads
            told.clear()
    return np.stack(found), (16 / FORMAT.k_bits) * whole / live if live else 1.0
