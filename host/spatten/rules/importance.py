# SPDX-License-Identifier: BSD-2-Clause
"""Which tokens a generation keeps: rules of importance on the shipped GPT-2, at the same share of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatten_drivers import Quantization

from ..catalog import load
from ..quality.tasks import TASKS, Perplexity, Sample
from ..schedule import Schedule, paper_schedule
from ..tune.data import Examples
from ..tune.measure import batched_scores
from ..tune.rules import RULES
from ..tune.state import State
from ..tune.tasks import Foretelling

Progress = Callable[[str, int, int], None]

#: Average share of tokens behind the front of the layers, at a width that costs nothing by itself.
SHARE, FORMAT = 0.5, Quantization.static(8)
#: Windows at once: their logits take memory.
TOGETHER = 8


@dataclass(frozen=True)
class Variant:
    """A rule; how many tokens of the front and the end are spared, and how old importance decays by step."""

    name: str
    rule: str = "cumulative"
    first: int = 1
    last: int = 32
    decay: float = 1.0

    @property
    def known(self) -> bool:
        """Whether a device can do it."""
        return self.rule == "cumulative"

    def schedule(self, layers: int) -> Schedule:
        """Its schedule; prompts are read whole."""
        return paper_schedule(
            layers,
            tokens=SHARE,
            quantization=FORMAT,
            protect_first=self.first,
            protect_last=self.last,
            decay=self.decay,
            prune_prefill=False,
        )


#: Not the latest layer alone: its factor of 256 a layer would let last layers of old steps outweigh this one.
VARIANTS = (
    Variant("cumulative, 32 recent spared"),
    Variant("old importance times 0.9 a step", decay=0.9),
    Variant("old importance times 0.5 a step", decay=0.5),
    Variant("decayed by layer", rule="decayed"),
    Variant("weighted by value norm", rule="value-norm"),
    Variant("1 recent spared", last=1),
    Variant("96 recent spared", last=96),
    Variant("4 of the front spared", first=4),
    Variant("96 recent spared, old times 0.5 a step", last=96, decay=0.5),
)


def compare(
    count: int, folder: Path, seed: int = 0, progress: Progress = lambda *_: None
) -> list[dict[str, Any]]:
    """Surprise of ``count`` test windows of each text, by variant and in float; kept in ``folder``."""
    state, found = State(folder, {"count": count, "seed": seed, "share": SHARE}), []
    for task in (task for task in TASKS if isinstance(task, Perplexity)):
        variants = (None, *VARIANTS)
        for done, variant in enumerate(variants):
            progress(f"{task.name}: importance", done, len(variants))
            name = variant.name if variant else "float"
            scores = state.once(
                f"{task.name} {name}", lambda t=task, v=variant: _scores(t, Sample(count, seed), v)
            )
            found.append({"task": task.name, "title": task.title, "variant": name, "scores": scores})
    return found


def _scores(task: Perplexity, sample: Sample, variant: Variant | None) -> list[float]:
    """Mean negative log-likelihood of the steps of each window, as the training surrogate prunes them."""
    model, asked = load(task.model).model, Foretelling(Examples([], [], []), task.window)
    features = [{"input_ids": window} for window in task.examples(sample)]
    schedule = variant.schedule(model.config.num_hidden_layers) if variant else None
    rule = RULES[variant.rule if variant else "cumulative"]
    parts = [features[start : start + TOGETHER] for start in range(0, len(features), TOGETHER)]
    return [
        score
        for part in parts
        for score in batched_scores(model, asked, part, schedule, rule).scores.tolist()
    ]
