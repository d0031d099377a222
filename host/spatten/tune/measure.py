# SPDX-License-Identifier: BSD-2-Clause
"""How good a model is, and what it reads: in plain float, in the surrogate, and on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

import spatten
from spatten_drivers import Device

from ..quality.subject import Traffic
from ..schedule import Schedule
from .rules import Rule, cumulative
from .surrogate import surrogate
from .tasks import Batch, Feature, Scores, TuneTask

#: Examples a batch where nothing is learned.
BATCH = 32


@dataclass(frozen=True)
class Measured:
    """Scores of examples, K and V bytes, and what else the task tells.

    Attributes
    ----------
    traffic : bytes read, and of the same jobs dense at 16 bit; none in float.
    asides : of each example, by name.
    """

    scores: Scores
    traffic: Traffic = field(default_factory=Traffic)
    asides: Mapping[str, Scores] = field(default_factory=dict)

    def ratio(self, bits: int) -> float:
        """Dense K and V bytes at ``bits`` over those read."""
        return self.traffic.dense_16 * (bits / 16) / max(1, self.traffic.read)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Measured:
        """From what :meth:`to_dict` gave, as a state file has it."""
        asides = {name: np.array(part) for name, part in record.get("asides", {}).items()}
        return cls(np.array(record["scores"]), Traffic(record["read"], record["dense_16"]), asides)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        asides = {name: part.tolist() for name, part in self.asides.items()}
        return {
            "scores": self.scores.tolist(),
            "read": self.traffic.read,
            "dense_16": self.traffic.dense_16,
            "asides": asides,
        }


def expected_loss(
    model: PreTrainedModel,
    task: TuneTask,
    features: Sequence[Feature],
    schedule: Schedule | None,
    rule: Rule = cumulative,
) -> float:
    """Mean of what trained models are compared by; as the surrogate runs the schedule, or in float."""
    total = 0.0
    with torch.inference_mode(), _attention(model, schedule, rule):
        for places, batch in _collated(model, task, features):
            total += len(places) * float(task.criterion(model, batch, pruned=schedule is not None))
    return total / len(features)


def dense_answers(model: PreTrainedModel, task: TuneTask, features: Sequence[Feature]) -> list[torch.Tensor]:
    """What the model says in float to each of :func:`batches`, of it what is scored."""
    with torch.inference_mode():
        return [
            task.judged(task.lesson(model, batch, pruned=False)[1])
            for _, batch in _collated(model, task, features)
        ]


def expected_distance(
    model: PreTrainedModel,
    task: TuneTask,
    features: Sequence[Feature],
    wanted: Sequence[torch.Tensor],
    schedule: Schedule,
    rule: Rule = cumulative,
) -> float:
    """Mean distance of the answers that the schedule leaves from :func:`dense_answers`.

    Of an untrained schedule few rows tell more by it than by their loss, most of which is the model's own.
    """
    total = 0.0
    with torch.inference_mode(), surrogate(model, schedule, rule=rule):
        for (places, batch), theirs in zip(_collated(model, task, features), wanted, strict=True):
            ours = task.judged(task.lesson(model, batch, pruned=True)[1])
            total += len(places) * float(task.distance(ours, theirs, batch))
    return total / len(features)


def batched_scores(
    model: PreTrainedModel,
    task: TuneTask,
    features: Sequence[Feature],
    schedule: Schedule | None = None,
    rule: Rule = cumulative,
) -> Measured:
    """Scores in padded batches, as the surrogate runs the schedule or in float; no bytes are counted."""
    found: list[Any] = [None] * len(features)
    with torch.inference_mode(), _attention(model, schedule, rule):
        for places, batch in _collated(model, task, features):
            for place, answer in zip(places, task.answers(model, batch), strict=True):
                found[place] = answer
    answers = np.stack(found)
    return Measured(task.scores(answers, features), asides=task.asides(answers))


def device_scores(
    model: PreTrainedModel,
    task: TuneTask,
    features: Sequence[Feature],
    schedule: str | Schedule,
    device: Device | str,
    step: Callable[[], None] = lambda: None,
) -> Measured:
    """Scores on a device, one example at a time; padding is neither computed nor counted there."""
    found: list[NDArray[np.float64]] = []
    traffic = Traffic()
    with torch.inference_mode(), spatten.attach(model, schedule=schedule, device=device) as session:
        for feature in features:
            session.reset_record()
            found.append(task.answers(model, on_device(task.collate([feature]), model))[0])
            traffic.add(session.record)
            step()
    answers = np.stack(found)
    return Measured(task.scores(answers, features), traffic, task.asides(answers))


def batches(features: Sequence[Feature], size: int = BATCH) -> Iterator[list[int]]:
    """Indices by length, so that little is padded."""
    order = sorted(range(len(features)), key=lambda i: len(features[i]["input_ids"]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _collated(
    model: PreTrainedModel, task: TuneTask, features: Sequence[Feature]
) -> Iterator[tuple[list[int], Batch]]:
    """:func:`batches` where the model is, each with its indices."""
    for places in batches(features):
        yield places, on_device(task.collate([features[i] for i in places]), model)


def on_device(batch: Batch, model: PreTrainedModel) -> Batch:
    """The batch where the model is."""
    return {name: part.to(model.device) for name, part in batch.items()}


def _attention(model: PreTrainedModel, schedule: Schedule | None, rule: Rule) -> Any:
    return nullcontext() if schedule is None else surrogate(model, schedule, rule=rule)
