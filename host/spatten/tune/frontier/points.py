# SPDX-License-Identifier: BSD-2-Clause
"""The points of a frontier: one tuning each, measured once and kept in a small file of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...report.write import write_atomic
from ..search import NoScheduleError
from ..tasks import KINDS
from ..trainer import Progress
from ..tuning import Effort, tune


@dataclass(frozen=True)
class Subject:
    """A model and the task that it is tuned for.

    Attributes
    ----------
    name : of a shipped task, its data.
    title : as the page calls it.
    trained : the model comes trained for it: no dense training before.
    """

    name: str
    title: str
    model: str = "minilm"
    task: str = "classification"
    max_tokens: int = 128
    trained: bool = False


SUBJECTS: tuple[Subject, ...] = (
    Subject("spam", "SpamAssassin: ham or spam"),
    Subject("sentiment", "Movie-review sentiment"),
    Subject("retrieval", "Passage retrieval", task="retrieval"),
    Subject("products", "Product-review sentiment"),
    *(
        Subject(f"perplexity-{name}", f"Perplexity: {title}", "gpt2-prose", "lm", 512, trained=True)
        for name, title in (("sotu", "State of the Union"), ("moby-dick", "Moby Dick"))
    ),
)
BUDGETS = (10.0, 2.0, 4.0, 7.0, 14.0, 20.0, 40.0)
#: Of :data:`BUDGETS` the one that every seed measures; the others are measured with the first seed alone.
HEADLINE = 10.0


@dataclass(frozen=True)
class Sweep:
    """What is measured.

    Attributes
    ----------
    subjects, budgets : each with each.
    seeds : the headline budget is measured with all of them, the others with the first.
    effort : of one tuning; its control is trained once for all budgets of a task and seed.
    points_folder : of finished points, some 10 KB each: all that the page is written from.
    folder : of dense models and of tunings that are under way.
    keep : keep the tuned models in ``folder``, 90 MB each, not their numbers alone.
    windows : the effort of text models, if it is another.
    """

    subjects: Sequence[Subject]
    budgets: Sequence[float]
    seeds: Sequence[int]
    effort: Effort
    points_folder: Path
    folder: Path
    device: str = "emulator"
    keep: bool = False
    windows: Effort | None = None

    def points(self) -> list[tuple[Subject, float, int]]:
        """Headline budgets of all tasks first: a sweep that is stopped has those."""
        order = sorted(self.budgets, key=lambda budget: budget != HEADLINE)
        return [
            (subject, budget, seed)
            for budget in order
            for subject in self.subjects
            for seed in (self.seeds if budget == HEADLINE else self.seeds[:1])
        ]

    def effort_of(self, subject: Subject) -> Effort:
        """The effort, without dense training where the model needs none."""
        effort = self.windows if self.windows and KINDS[subject.task].generates else self.effort
        if not subject.trained:
            return effort
        return replace(effort, dense=replace(effort.dense, epochs=0.0))

    def home(self, subject: Subject, seed: int) -> Path:
        """The folder of a task, seed and effort; another search has others."""
        effort = {"effort": asdict(self.effort_of(subject)), "max_tokens": subject.max_tokens}
        effort |= {"compared": KINDS[subject.task].compared}
        digest = hashlib.sha256(json.dumps(effort, sort_keys=True).encode()).hexdigest()[:8]
        return self.folder / f"{subject.name}-seed{seed}-{digest}"

    def file(self, subject: Subject, budget: float, seed: int) -> Path:
        """Of a finished point."""
        return self.points_folder / f"{self.home(subject, seed).name}-{budget:g}x.json"

    def run(self, progress: Progress = lambda *_: None) -> Iterator[dict[str, Any]]:
        """Point after point, those of an earlier run from their files."""
        for subject, budget, seed in self.points():
            file = self.file(subject, budget, seed)
            if not file.is_file():
                write_record(file, self._measured(subject, budget, seed, progress))
            yield _read(file)

    def _measured(self, subject: Subject, budget: float, seed: int, progress: Progress) -> dict[str, Any]:
        place, began = self.home(subject, seed) / f"{budget:g}x", time.monotonic()
        try:
            outcome = tune(
                subject.model,
                subject.name,
                subject.task,
                place,
                budget=budget,
                max_tokens=subject.max_tokens,
                effort=self.effort_of(subject),
                device=self.device,
                seed=seed,
                shared=place.parent / "dense",
                progress=lambda what, done, all: progress(
                    f"{place.parent.name} {place.name}: {what}", done, all
                ),
            )
        except NoScheduleError as error:
            found: dict[str, Any] = {"refused": str(error)}
        else:
            found = {**outcome.to_dict(), "x32_before": outcome.before.ratio(32)}
        named = {"data": subject.name, "title": subject.title, "budget": budget, "seed": seed}
        if not self.keep and place.is_dir():  # a refused budget left none
            shutil.rmtree(place)
        return {**named, "seconds": round(time.monotonic() - began), **found}


def write_record(path: Path, record: Any) -> None:
    """One line of JSON: scores of single examples are many numbers that nobody reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(record) + "\n")


def command(settings: Mapping[str, Any]) -> str:
    """The command line that measures one point, and no other.

    Parameters
    ----------
    settings : of the point's tuning, as its file has them.
    """
    effort = settings["effort"]
    options = {
        "tasks": settings["data"],
        "budgets": f"{settings['budget']:g}x",
        "seeds": 1,
        "first-seed": settings["seed"],
        "examples": effort["examples"],
        "dense-epochs": effort["dense"]["epochs"],
        "epochs": effort["tuned"]["epochs"],
        "batch": effort["tuned"]["batch"],
        "rate": effort["tuned"]["rate"],
        "distillation": effort["tuned"].get("distillation", 0.0),  # what was measured before there was any
        "screens": effort["screens"],
        "look": effort["look"],
        "trials": effort["trials"],
        "trial-epochs": effort["trial_epochs"],
        "report-examples": effort["report"],
    }
    chosen = {name: value for name, value in options.items() if value is not None}
    words = [word for name, value in chosen.items() for word in (f"--{name}", f"{value}")]
    words += [] if effort.get("fresh") else ["--same-rows"]
    return " ".join(["python -m spatten.tune.frontier", *words, "--no-rules"])


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        known = found["data"] in {subject.name for subject in SUBJECTS} and {"budget", "seed"} <= set(found)
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"{str(path)!r} is no point of a frontier; take it out of that folder")
    return found


def kept(folder: Path) -> list[dict[str, Any]]:
    """All points that stand in a folder, of this and of earlier sweeps, by task, budget and seed."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    order = [subject.name for subject in SUBJECTS]
    return sorted(found, key=lambda part: (order.index(part["data"]), part["budget"], part["seed"]))
