# SPDX-License-Identifier: BSD-2-Clause
"""Settings are chosen on development windows, by family and budget; results are those of test windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..catalog import load
from ..quality.metrics import PERPLEXITY, Estimate
from ..quality.tasks import TASKS, Perplexity, Sample
from ..tune.state import State
from .decode import FLOAT, Reading, read_windows
from .families import AS_BUILT, FAMILIES, Family
from .rule import Rule

#: K and V bytes, as a factor below whole rows of 16 bit.
BUDGETS = (2.0, 2.6, 3.0, 3.5, 3.9, 4.5, 5.0, 5.5, 6.0)
#: The most that perplexity may rise, at the worse end of its interval, and still count as no loss.
NO_LOSS = 0.01

TEXTS = [task for task in TASKS if isinstance(task, Perplexity)]

Progress = Callable[[str, int, int], None]
#: Family and setting.
Point = tuple[str, str]


@dataclass(frozen=True)
class Text:
    """What was read of one text.

    Attributes
    ----------
    name, title : of its task.
    chosen : by family and budget, the setting that was best on development windows within the budget.
    readings : of the test windows, float and every setting that was chosen anywhere.
    """

    name: str
    title: str
    chosen: Mapping[tuple[str, float], str]
    readings: Mapping[Point, Reading]

    @property
    def float(self) -> Reading:
        """Without quantization, everything read."""
        return self.readings[FLOAT, ""]

    def change(self, point: Point, against: Point = (FLOAT, "")) -> Estimate:
        """Of perplexity, window by window."""
        return PERPLEXITY.change(self.readings[point].scores, self.readings[against].scores)

    def within(self, family: str, budget: float) -> Point | None:
        """The family's point for a budget; none where it has none that reads so little."""
        setting = self.chosen.get((family, budget))
        return None if setting is None else (family, setting)

    def safe(self, point: Point) -> bool:
        """Whether perplexity rises by no more than ``NO_LOSS`` at the worse end of its interval."""
        return self.change(point).high <= NO_LOSS

    def fewest(self, family: str) -> Point | None:
        """The family's point of fewest bytes without a loss."""
        points = [point for point in self.readings if point[0] == family and self.safe(point)]
        return max(points, key=lambda point: self.readings[point].x16, default=None)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, scores of single windows included."""
        points = [
            {
                "family": family,
                "setting": setting,
                "x16": part.x16 if part.read else None,
                "change": self.change((family, setting))._asdict(),
                **asdict(part),
            }
            for (family, setting), part in self.readings.items()
        ]
        chosen = [{"family": f, "budget": b, "setting": s} for (f, b), s in self.chosen.items()]
        return {"name": self.name, "title": self.title, "chosen": chosen, "points": points}


def sweep(
    development: int,
    test: int,
    folder: Path,
    seed: int = 0,
    families: Sequence[Family] = FAMILIES,
    progress: Progress = lambda *_: None,
) -> list[Text]:
    """All texts: so many ``development`` and ``test`` windows of each; what was read stays in ``folder``.

    What is chosen on any text is tested on all, so that a setting can be judged on all of them.
    """
    every = {(family.name, name): rule for family in families for name, rule in family.points.items()}
    state = State(folder, {"development": development, "test": test, "seed": seed})
    readers = {task: _reader(task, state, progress) for task in TEXTS}
    aside, drawn = Sample(development, seed, development=True), Sample(test, seed)
    chosen = {
        task: choices(read("choosing", every, task.examples(aside)), families)
        for task, read in readers.items()
    }
    wanted = {(family, setting) for part in chosen.values() for (family, _), setting in part.items()}
    picked = {point: rule for point, rule in every.items() if point in wanted}
    return [
        Text(task.name, task.title, chosen[task], read("test", picked, task.examples(drawn)))
        for task, read in readers.items()
    ]


def again(
    size: int,
    read_before: Sequence[Sample],
    folder: Path,
    seed: int,
    progress: Progress = lambda *_: None,
) -> list[Text]:
    """The rule that is built, at all its settings, on ``size`` windows a text less those read before."""
    family = next(family for family in FAMILIES if family.name == AS_BUILT)
    points = {(family.name, name): rule for name, rule in family.points.items()}
    state = State(folder, {"size": size, "seed": seed, "read_before": [asdict(s) for s in read_before]})
    found = []
    for task in TEXTS:
        known = [window for sample in read_before for window in task.examples(sample)]
        fresh = [window for window in task.examples(Sample(size, seed)) if window not in known]
        found.append(Text(task.name, task.title, {}, _reader(task, state, progress)("again", points, fresh)))
    return found


def choices(readings: Mapping[Point, Reading], families: Sequence[Family]) -> dict[tuple[str, float], str]:
    """By family and budget the setting with the least surprise among those that read few enough bytes."""
    found = {}
    for family in families:
        for budget in BUDGETS:
            able = [name for name in family.points if readings[family.name, name].x16 >= budget]
            if able:
                found[family.name, budget] = min(
                    able, key=lambda name: readings[family.name, name].scores.mean()
                )
    return found


def _reader(task: Perplexity, state: State, progress: Progress) -> Callable[..., dict[Point, Reading]]:
    """Reads points on windows of a text; of those read before, what the state holds."""

    def read(
        what: str, points: Mapping[Point, Rule], windows: Sequence[Sequence[int]]
    ) -> dict[Point, Reading]:
        keys = {(FLOAT, ""): f"{task.name} {what}"}
        keys |= {point: f"{task.name} {what} {rule!r}" for point, rule in points.items()}
        missing = {point: rule for point, rule in points.items() if keys[point] not in state.results}
        if missing:
            done = 0

            def step() -> None:
                nonlocal done
                done += 1
                progress(f"{task.name}: {what}", done, len(windows) * (1 + len(missing)))

            found = read_windows(load(task.model).model, windows, missing, task.scored, step)
            for point, part in found.items():
                state.once(keys[point], lambda part=part: asdict(part))
        return {point: Reading(**state.results[key]) for point, key in keys.items()}

    return read
