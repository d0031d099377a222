# SPDX-License-Identifier: BSD-2-Clause
"""Every task with every row, each kept as a file once it is done: a study goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np

import spatten_drivers
from spatten_drivers import Device, open_device

from ..catalog import LoadedModel, load
from ..report.write import write_atomic
from .metrics import Estimate
from .rows import FLOAT, Row
from .subject import Subject, subject
from .tasks import Prepared, Sample, Task

HOST = Path(__file__).parent.parent
#: What measures; the other modules only show and may change without a new study.
MEASURING = ("data", "head", "mail", "rows", "study", "subject", "tasks")
LIBRARIES = ("numpy", "scikit-learn", "tokenizers", "torch", "transformers")

#: Told (task name, what is done, texts done, texts in all) while a cell is made.
Progress = Callable[[str, str, int, int], None]


@dataclass(frozen=True)
class Cell:
    """One task with one row.

    Attributes
    ----------
    scores : one per example, in the order in which the task drew them.
    guess : score of a model that knows nothing, where known.
    kv_read, kv_dense_16 : K and V bytes read, and those of the same work dense at 16 bit; 0 for float.
    seconds : what it took.
    """

    task: str
    row: str
    device: str
    scores: list[float]
    guess: float | None
    kv_read: int
    kv_dense_16: int
    seconds: float

    def kv_ratio(self, bits: int) -> float:
        """Dense K and V bytes at ``bits`` over those read; float reads 32 bits of everything."""
        read = self.kv_read / self.kv_dense_16 if self.kv_dense_16 else 32 / 16
        return bits / 16 / read

    def quality(self, task: Task) -> Estimate:
        """Quality with its interval."""
        return task.metric.estimate(np.array(self.scores))

    def change(self, task: Task, baseline: Cell) -> Estimate:
        """Change against ``baseline``, pair by pair."""
        return task.metric.change(np.array(self.scores), np.array(baseline.scores))


@dataclass(frozen=True)
class Plan:
    """What to run, and where results are kept."""

    tasks: Sequence[Task]
    rows: Sequence[Row]
    cache: Path
    scale: float = 1.0
    seed: int = 0
    device: str = "emulator"
    development: bool = False

    def sample(self, task: Task) -> Sample:
        """Examples of a task; two at least, or nothing could be resampled."""
        return Sample(max(2, round(task.size * self.scale)), self.seed, self.development)

    def all_rows(self) -> list[Row]:
        """The rows with the float baseline in front, which every other one is compared with."""
        return [FLOAT, *(row for row in self.rows if row != FLOAT)]

    def rows_of(self, task: Task) -> list[Row]:
        """Those that say something about a task: recent tokens and steps are known to generations alone."""
        return [row for row in self.all_rows() if task.generates or not (row.recent or row.by_key)]

    def count(self) -> int:
        """Cells of the plan."""
        return sum(len(self.rows_of(task)) for task in self.tasks)


def run_study(plan: Plan, progress: Progress = lambda *_: None) -> Iterator[Cell]:
    """The cells of the plan as they are done, task by task, from the cache where they are there."""
    plan.cache.mkdir(parents=True, exist_ok=True)
    with open_device(plan.device) as device:
        for task in plan.tasks:
            yield from _task_cells(plan, task, device, progress)


def cell_digest(plan: Plan, task: Task, row: Row, device: str) -> str:
    """Name of a result: equal exactly when task, sample, row, device, code and libraries are."""
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    asked = [task.name, task.model, asdict(plan.sample(task))]
    settled = json.dumps([asked, asdict(row), device, code_version(), libraries], sort_keys=True)
    return hashlib.sha256(settled.encode()).hexdigest()[:16]


@cache
def code_version() -> str:
    """Hash of all code that a result depends on: driver, attention of the host, measuring modules here."""
    sources = [HOST / "schedule.py", *(HOST / "quality" / f"{name}.py" for name in MEASURING)]
    sources += sorted((HOST / "hf").rglob("*.py"))
    sources += sorted(Path(spatten_drivers.__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def _task_cells(plan: Plan, task: Task, device: Device, progress: Progress) -> Iterator[Cell]:
    """The cells of one task; its model is loaded and its examples drawn only if a cell is missing."""
    bench: _Bench | None = None
    for row in plan.rows_of(task):
        where = "float" if row == FLOAT else f"{device} {device.config.digest:016x}"
        path = plan.cache / f"{task.name}-{_file_name(row)}-{cell_digest(plan, task, row, where)}.json"
        if not path.is_file():
            bench = bench or _Bench(plan, task, progress)
            cell = bench.measured(row, device, where, progress)
            write_atomic(path, json.dumps(asdict(cell)))
        yield Cell(**json.loads(path.read_text("utf-8")))


class _Bench:
    """A task with its model loaded and its examples drawn."""

    def __init__(self, plan: Plan, task: Task, progress: Progress) -> None:
        progress(task.name, "drawing examples", 0, 1)
        self.task = task
        self.loaded = load(task.model)
        reference, weights = Subject(self.loaded), weights_digest(self.loaded)
        self.prepared: Prepared = task.prepare(reference, plan.sample(task), weights, plan.cache)

    def measured(self, row: Row, device: Device, where: str, progress: Progress) -> Cell:
        """Run the task with a row."""
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress(self.task.name, row.name, done, self.prepared.texts)

        start = time.perf_counter()
        with subject(self.loaded, row, device, step) as answers:
            scores = self.prepared.score(answers)
        return Cell(
            task=self.task.name,
            row=row.name,
            device=where,
            scores=scores.tolist(),
            guess=self.prepared.guess,
            kv_read=answers.traffic.read,
            kv_dense_16=answers.traffic.dense_16,
            seconds=round(time.perf_counter() - start, 2),
        )


def weights_digest(loaded: LoadedModel) -> str:
    """Hash of all weights of a model, by name."""
    sha = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        sha.update(name.encode())
        sha.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return sha.hexdigest()


def _file_name(row: Row) -> str:
    return "".join(letter if letter.isalnum() or letter in "-+" else "-" for letter in row.name)
