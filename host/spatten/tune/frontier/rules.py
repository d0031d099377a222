# SPDX-License-Identifier: BSD-2-Clause
"""Importance rules at equal bytes, without tuning to any of them: who keeps the tokens that matter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from spatten_drivers import Quantization, open_device

from ...catalog import FOLDERS
from ...errors import InputError
from ...quality.metrics import ACCURACY
from ...schedule import Schedule, paper_schedule
from ..budget import Bytes
from ..data import read_examples
from ..measure import batched_scores
from ..rules import RULES
from ..state import State
from ..tasks import KINDS
from ..trainer import Progress
from .points import Subject, write_record

#: Average shares of tokens behind the front: of the same share every rule reads the same bytes.
SHARES = (0.3, 0.5)
#: The number format, which costs nothing by itself.
FORMAT = Quantization.static(8)
#: Of a comparison: its state within the folder of its task, finished ones within the folder of points.
FOLDER = "rules"
#: All tasks together, in the place of a task's name.
ALL = "all tasks"


@dataclass(frozen=True)
class Variant:
    """A rule, which tokens it may not prune, and what they start with."""

    name: str
    meaning: str
    rule: str = "cumulative"
    first: int = 1
    last: int = 1
    prior: float = 0.0

    def schedule(self, layers: int, share: float) -> Schedule:
        """Its schedule of ``layers`` layers."""
        options: dict[str, Any] = {
            "protect_first": self.first,
            "protect_last": self.last,
            "prior": self.prior,
        }
        return paper_schedule(layers, tokens=share, quantization=FORMAT, name=self.name, **options)


VARIANTS = (
    Variant("cumulative", "the paper's: probabilities summed over heads, queries and layers; spares 1 + 1"),
    Variant("decayed", "the same, what earlier layers gave halved at each layer", "decayed"),
    Variant("latest", "the latest layer alone", "latest"),
    Variant("value-norm", "probabilities times the length of the token's value", "value-norm"),
    Variant("prior", "the paper's, from a start by the length of values in layer 0 (3)", prior=3.0),
    Variant("first-row", "the row of [CLS] alone", "first-row"),
    Variant("nothing spared", "the paper's; [CLS] and the last token may go", first=0, last=0),
    Variant("front spared", "the paper's; the first 4 tokens stay", first=4),
    Variant("end spared", "the paper's; the last 4 tokens stay", last=4),
)


def compare(
    subject: Subject,
    seed: int,
    home: Path,
    finished: Path,
    progress: Progress = lambda *_: None,
) -> None:
    """Scores of all test rows by variant and share, as the surrogate decides; kept in ``finished/rules``.

    ``home`` is the folder of the task's tunings, whose dense model is taken.

    Raises
    ------
    InputError : there is no such model: the task's points came with the repository.
    """
    file, dense = finished / FOLDER / f"{home.name}.json", home / "dense" / "dense.pt"
    if file.is_file():
        return
    if not dense.is_file():
        raise InputError(
            f"{str(dense)!r} is missing, the dense model whose tokens the rules prune: the points of "
            f"{subject.name} in {str(finished)!r} were measured elsewhere. Give --points another folder, so "
            "that it is trained here, or --no-rules"
        )
    state = State(home / FOLDER, {"data": subject.name, "seed": seed})
    examples = read_examples(subject.name, subject.task, seed=seed)
    task, source = KINDS[subject.task](examples, subject.max_tokens), FOLDERS[subject.model]()
    features = task.features(AutoTokenizer.from_pretrained(source), examples.test)
    model = task.head.from_pretrained(source, **task.config(), attn_implementation="sdpa").eval()
    model.load_state_dict(torch.load(dense, weights_only=True))
    layers, found = model.config.num_hidden_layers, []
    with open_device("emulator") as device:
        count = Bytes(model, task, features, device)
        for share in SHARES:
            for done, variant in enumerate(VARIANTS):
                progress(f"{subject.name}: rules, tokens {share:.0%}", done, len(VARIANTS))
                schedule = variant.schedule(layers, share)

                def work(schedule: Schedule = schedule, rule: str = variant.rule) -> dict[str, Any]:
                    scores = batched_scores(model, task, features, schedule, RULES[rule]).scores
                    return {"x32": count.planned(schedule), "scores": scores.tolist()}

                part = state.once(f"{share} {variant.name}", work)
                named = {"data": subject.name, "seed": seed, "home": home.name}
                found.append({**named, "share": share, "rule": variant.name, **part})
    write_record(file, found)


def kept(finished: Path) -> list[dict[str, Any]]:
    """All finished comparisons, with the paper's rule as baseline of each; last, all tasks together."""
    files = sorted((finished / FOLDER).glob("*.json"))
    found = [part for path in files for part in json.loads(path.read_text("utf-8"))]
    if len(files) > 1:
        kinds = dict.fromkeys((part["share"], part["rule"]) for part in found)
        found += [_together(found, *kind) for kind in kinds]
    return [{**part, **_against(part, found)} for part in found]


def _together(parts: list[dict[str, Any]], share: float, rule: str) -> dict[str, Any]:
    """The rows of all tasks as if of one, and the bytes as their mean ratio."""
    same = [part for part in parts if (part["share"], part["rule"]) == (share, rule)]
    ratio = float(np.mean([part["x32"] for part in same]))
    scores = [score for part in same for score in part["scores"]]
    return {"data": ALL, "home": ALL, "share": share, "rule": rule, "x32": ratio, "scores": scores}


def _against(part: dict[str, Any], parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Quality and the change against the paper's rule at the same bytes."""
    same = ("home", "share")
    (paper,) = (p for p in parts if p["rule"] == VARIANTS[0].name and all(p[k] == part[k] for k in same))
    scores, baseline = np.array(part["scores"]), np.array(paper["scores"])
    return {
        "quality": ACCURACY.estimate(scores)._asdict(),
        "change": ACCURACY.change(scores, baseline)._asdict(),
    }
