# SPDX-License-Identifier: BSD-2-Clause
"""What a tuning leaves: a model folder whose config holds the schedule, its numbers, a page and a plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..hf.own import ORIGIN_KEY, SCHEDULE_KEY
from ..quality.metrics import Estimate, Metric
from ..quality.report import change_text, quality_text
from ..report.write import write_atomic
from ..schedule import Ratios, Schedule
from .knobs import Knobs
from .measure import Measured
from .metrics import lost_points
from .tasks import KINDS


@dataclass(frozen=True)
class Training:
    """What the result's training did to the development rows, with the schedule.

    Attributes
    ----------
    untuned, tuned : loss before and behind it.
    lost : points of the task's metric that it cost, where it raised the loss: a model that grows surer of
        itself may have a greater loss and more answers right.
    """

    untuned: float
    tuned: float
    lost: float | None = None

    @property
    def helped(self) -> bool:
        """Whether it was worth keeping; else the result has the weights from before it."""
        return self.tuned <= self.untuned or (self.lost is not None and self.lost < 0.0)


@dataclass(frozen=True)
class Outcome:
    """A finished tuning, measured on its test rows.

    Attributes
    ----------
    settings : what was asked for.
    metric : of the scores.
    schedule : stands in the result's config.
    dense, control : of the dense float model, and of it trained as long again, if that was asked for.
    before, tuned : on the device with the schedule, without and with tuning; the same if that did not help.
    training : whether it helped.
    looked_at : schedules that were looked at or tried, with ratio, distance from the dense answers and, if
        tried, loss, on development rows.
    shown : some test texts, for the report.
    device : where it was measured.
    """

    settings: dict[str, Any]
    metric: Metric
    schedule: Schedule
    dense: Measured
    control: Measured | None
    before: Measured
    tuned: Measured
    training: Training
    looked_at: list[dict[str, Any]]
    shown: list[str]
    device: str

    @property
    def baseline(self) -> Measured:
        """What losses are counted against: the dense model trained as long, else the dense model."""
        return self.control or self.dense

    @property
    def parts(self) -> dict[str, Measured]:
        """All that was measured, by the names that ``tuned.json`` has."""
        both = {"dense": self.dense, "before": self.before, "tuned": self.tuned}
        return both if self.control is None else {**both, "control": self.control}

    def asides(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """What else the task tells of test rows, by name, then by whose they are."""
        return {
            name: {whose: part.asides[name] for whose, part in self.parts.items()}
            for name in self.tuned.asides
        }

    def lost(self, scores: NDArray[np.float64]) -> Estimate:
        """Points lost against the baseline, with the 95 % interval of the pairs."""
        return lost_points(self.metric, scores, self.baseline.scores)

    def rows(self) -> list[list[str]]:
        """Model, bytes below 32 and 16 bit, quality, change against the baseline: as texts."""
        named = {
            "dense, float32": self.dense,
            "dense, trained as long again, float32": self.control,
            "schedule without tuning": self.before,
            "tuned": self.tuned,
        }
        return [self._row(name, part) for name, part in named.items() if part is not None]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, scores of single examples included."""
        scores = {name: part.scores for name, part in self.parts.items()}
        told = {
            name: {whose: part.tolist() for whose, part in parts.items()}
            for name, parts in self.asides().items()
        }
        return {
            "settings": self.settings,
            "metric": self.metric.name,
            "schedule": self.schedule.to_dict(),
            "x32": self.tuned.ratio(32),
            "x16": self.tuned.ratio(16),
            "quality": {name: self.metric.estimate(part).value for name, part in scores.items()},
            "lost": {name: self.lost(part)._asdict() for name, part in scores.items()},
            "development": {**asdict(self.training), "helped": self.training.helped},
            "device": self.device,
            "scores": {name: part.tolist() for name, part in scores.items()},
            "asides": told,
        }

    def _row(self, name: str, part: Measured) -> list[str]:
        change = "baseline"
        if part is not self.baseline:
            change = change_text(self.metric, self.metric.change(part.scores, self.baseline.scores))
        in_float = part is self.dense or part is self.control
        ratios = [1.0, 0.5] if in_float else [part.ratio(bits) for bits in (32, 16)]
        quality = quality_text(self.metric, self.metric.estimate(part.scores))
        return [name, *(f"{ratio:.2f}x" for ratio in ratios), quality, change]


COLUMNS = ["model", "K/V bytes below 32 bit", "below 16 bit"]


def save_result(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, outcome: Outcome
) -> None:
    """The folder that ``from_pretrained`` takes, with ``tuned.json`` and ``tuned.svg`` beside the weights."""
    from .plot import save_plot

    setattr(model.config, SCHEDULE_KEY, outcome.schedule.to_dict())
    setattr(model.config, ORIGIN_KEY, _origin(outcome))
    model.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_atomic(folder / "tuned.json", json.dumps(outcome.to_dict(), indent=1) + "\n")
    save_plot(folder / "tuned.svg", outcome)


def _origin(outcome: Outcome) -> dict[str, Any]:
    """Who made the schedule and for what, for whoever finds the folder later."""
    return {
        "spatten": metadata.version("spatten"),
        "base": outcome.settings["model"],
        "task": outcome.settings["task"],
        "x32": round(outcome.tuned.ratio(32), 2),
        "x16": round(outcome.tuned.ratio(16), 2),
    }


def tables(outcome: Outcome) -> list[tuple[str, list[str], list[list[str]]]]:
    """For the report: the result, and what was tried for it."""
    name = outcome.metric.name
    caption = f"{len(outcome.tuned.scores)} test examples on {outcome.device}"
    tried = [_tried(part, "loss") for part in outcome.looked_at if part["kind"].startswith("trial")]
    again, looked = (
        [_tried(part, "distance") for part in _best(outcome, kind)] for kind in ("again", "look")
    )
    found = [(caption, [*COLUMNS, name, "change"], outcome.rows())]
    if outcome.tuned.asides:
        told = ["of the same examples", "dense", "without tuning", "tuned", "change"]
        found.append(("What else is told of them", told, _told(outcome)))
    header, distance = ["schedule", "bytes below 32 bit"], "distance from the dense answers"
    others = (
        ("Tried", "loss on development rows", tried),
        ("Looked at again, on more development rows", distance, again),
        ("Looked at, the best", distance, looked),
    )
    return found + [(caption, [*header, judged], rows) for caption, judged, rows in others if rows]


def _best(outcome: Outcome, kind: str, count: int = 10) -> list[dict[str, Any]]:
    parts = [part for part in outcome.looked_at if part["kind"] == kind]
    return sorted(parts, key=lambda part: float(part["distance"]))[:count]


def _told(outcome: Outcome) -> list[list[str]]:
    """What else the task tells, against the same baseline."""
    metrics = KINDS[outcome.settings["task"]].told
    parts = (outcome.baseline, outcome.before, outcome.tuned)
    return [
        [name, *compared(metrics[name], *(part.asides[name] for part in parts))]
        for name in outcome.tuned.asides
    ]


def compared(metric: Metric, baseline: NDArray[np.float64], *others: NDArray[np.float64]) -> list[str]:
    """Qualities of all of them and the change of the last one, as texts."""
    qualities = [quality_text(metric, metric.estimate(part)) for part in (baseline, *others)]
    return [*qualities, change_text(metric, metric.change(others[-1], baseline))]


def _tried(part: dict[str, Any], judged: str) -> list[str]:
    return [knobs_text(part["knobs"]), f"{part['ratio']:.2f}x", f"{part[judged]:.4f}"]


def knobs_text(knobs: Knobs) -> str:
    """``4 bit, tokens 80 % (100 100 100 80 60 40), heads 90 %, values 100 %``."""
    schedule = knobs.schedule()
    text = f"{knobs.formats} bit, {shares_text(schedule.tokens, schedule.heads, schedule.values)}"
    if schedule.prior:
        text += f", prior {schedule.prior:g}"
    if knobs.generates:
        text += f", values above {knobs.value_share:g}, newest {knobs.recent}, decay {knobs.decay:g}"
    return text


def shares_text(tokens: Ratios, heads: Ratios, values: Ratios) -> str:
    """Means of all layers, of tokens also layer by layer, which says where they go."""
    tokens_text, heads_text, values_text = (
        f"{100 * np.mean(part):.0f} %" for part in (tokens, heads, values)
    )
    layers = [f"{100 * share:.0f}" for share in np.atleast_1d(tokens)]
    if len(set(layers)) > 1:
        tokens_text += f" ({' '.join(layers)})"
    return f"tokens {tokens_text}, heads {heads_text}, values {values_text}"
