# SPDX-License-Identifier: BSD-2-Clause
"""transformers' Trainer with the task's loss; pruning happens in the model, so nothing else differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from ..schedule import Schedule
from .rules import Rule, cumulative
from .surrogate import surrogate
from .tasks import Batch, Feature, TuneTask

#: Told (what runs, steps done, steps in all).
Progress = Callable[[str, int, int], None]
#: Steps between two checkpoints.
SAVE_STEPS = 50


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    epochs : passes over the training rows; may be a part of one.
    batch : rows a step.
    rate : highest learning rate; it rises over the first tenth of the steps and falls to zero.
    seed : of the order, of dropout and of a new head.
    distillation : share of the loss, 0 to 1, that is the distance from the answers of the dense model, where
        a pruned one is trained; the rest is the loss by the labels.
    dropout : as the model's config has it; without it the teacher's answers are met sooner, as it has none.
    """

    epochs: float = 1.5
    batch: int = 16
    rate: float = 5e-5
    seed: int = 0
    distillation: float = 0.0
    dropout: bool = True


def recipes(
    dense_epochs: float = 3.0, epochs: float = 1.5, batch: int = 16, rate: float = 3e-5
) -> tuple[Recipe, Recipe]:
    """Of the dense model and, without dropout, of what starts from it; the first takes 5/3 of the rate."""
    tuned = Recipe(epochs, batch, rate, distillation=0.5, dropout=False)
    return Recipe(dense_epochs, batch, rate * 5 / 3), tuned


class TaskTrainer(Trainer):
    """A Trainer that asks the task for the loss, and what a teacher would have answered."""

    def __init__(
        self, task: TuneTask, *, pruned: bool, teacher: PreTrainedModel | None, share: float, **options: Any
    ) -> None:
        super().__init__(**options)
        self._task, self._pruned, self._teacher, self._share = task, pruned, teacher, share

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Mean loss of the batch."""
        loss, found = self._task.lesson(model, inputs, pruned=self._pruned)
        if self._teacher is None:
            return loss
        with torch.no_grad():
            _, wanted = self._task.lesson(self._teacher, inputs, pruned=False)
        distance = self._task.distance(found, wanted, inputs)
        return (1 - self._share) * loss + self._share * distance


class _Log(TrainerCallback):
    """Appends what the Trainer logs to a file, one JSON object a line, and moves the progress bar."""

    def __init__(self, name: str, path: Path, progress: Progress) -> None:
        self.name, self.path, self.progress = name, path, progress

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        append(self.path, {"run": self.name, "step": state.global_step, **(logs or {})})

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress(self.name, state.global_step, state.max_steps)


def append(path: Path, entry: dict[str, Any]) -> None:
    """One line more in a log."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def train(
    model: PreTrainedModel,
    task: TuneTask,
    features: Sequence[Feature],
    recipe: Recipe,
    folder: Path,
    name: str,
    *,
    schedule: Schedule | None = None,
    rule: Rule = cumulative,
    teacher: PreTrainedModel | None = None,
    progress: Progress = lambda *_: None,
) -> None:
    """Train in place, with the device's pruning if there is a schedule, and by a teacher if there is one.

    A checkpoint that an earlier call left is taken up.

    ``folder/name`` holds checkpoints, which the caller deletes once the weights are safe elsewhere;
    ``folder/log.jsonl`` grows.
    """
    home = folder / name
    options = TrainingArguments(
        output_dir=str(home),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.rate,
        weight_decay=0.01,
        warmup_steps=0.1,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        seed=recipe.seed,
        logging_steps=10,
        save_steps=SAVE_STEPS,
        save_total_limit=1,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    with ExitStack() as inside:
        if schedule is not None:
            inside.enter_context(surrogate(model, schedule, rule=rule))
        if not recipe.dropout:
            inside.enter_context(_without_dropout(model))
        trainer = TaskTrainer(
            task,
            pruned=schedule is not None,
            teacher=teacher,
            share=recipe.distillation,
            model=model,
            args=options,
            train_dataset=list(features),
            data_collator=task.collate,
            callbacks=[_Log(name, folder / "log.jsonl", progress)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=_last_whole(home))
    model.eval()


@contextmanager
def _without_dropout(model: PreTrainedModel) -> Iterator[None]:
    """Every share of it 0 meanwhile."""
    shares = {part: part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)}
    for part in shares:
        part.p = 0.0
    try:
        yield
    finally:
        for part, share in shares.items():
            part.p = share


def _last_whole(home: Path) -> str | None:
    """The last checkpoint whose last file is there; one that was being written when all was stopped goes."""
    while home.is_dir() and (found := get_last_checkpoint(str(home))) is not None:
        try:
            json.loads((Path(found) / TRAINER_STATE_NAME).read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(found)
        else:
            return str(found)
    return None
