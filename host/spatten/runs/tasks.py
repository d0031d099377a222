# SPDX-License-Identifier: BSD-2-Clause
"""The four tasks: embedding, similarity, classification and generation of texts through an attached model.

Texts go one at a time: each has its own length, its own survivors and its own record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

import spatten
from spatten_drivers import Device

from ..catalog import LoadedModel
from ..errors import InputError
from ..hf import Session, survivors
from ..record import RunRecord
from ..schedule import Schedule
from .words import Word, generated_words, input_words

#: Told after every text and every generated token; advances a progress bar.
Step = Callable[[], None]


@dataclass(frozen=True)
class Generation:
    """How text is generated: ``sample`` draws from the 50 likeliest at temperature 0.8, else greedy."""

    max_new_tokens: int = 48
    sample: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TextRun:
    """One text's way through the model.

    ``words`` has one entry per slot, generated ones last; ``output`` is JSON-able and depends on the task.
    """

    label: str
    text: str
    words: list[Word]
    record: RunRecord
    output: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Run:
    """Texts through one model with one schedule on one device."""

    model: str
    task: str
    schedule: str
    device: str
    config_digest: str
    layers: int
    heads: int
    texts: list[TextRun]
    similarity: list[list[float]] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def record(self) -> RunRecord:
        """All jobs of all texts."""
        jobs = [job for text in self.texts for job in text.record.layers]
        return RunRecord(self.device, self.config_digest, jobs)


@dataclass(frozen=True)
class Target:
    """Where and how attention runs: arguments of :func:`spatten.attach`."""

    schedule: str | Schedule = "dense"
    device: str | Device = "auto"
    kernel: str = "auto"
    require_board: bool = False

    def attach(self, model: PreTrainedModel) -> Session:
        """The model attached as this target says."""
        return spatten.attach(
            model,
            schedule=self.schedule,
            device=self.device,
            kernel=self.kernel,
            require_board=self.require_board,
        )


def run_texts(
    loaded: LoadedModel,
    texts: Sequence[str],
    target: Target,
    *,
    generation: Generation | None = None,
    labels: Sequence[str] | None = None,
    truncate: bool = False,
    step: Step = lambda: None,
) -> Run:
    """Every text through ``loaded`` with attention on the device of ``target``.

    Raises
    ------
    InputError : a text has more tokens than model or device allow, and ``truncate`` is off.
    SpattenError : the device or the schedule does not fit the model.
    """
    generation = generation or Generation()
    names = labels or [f"text {number}" for number in range(1, len(texts) + 1)]
    with target.attach(loaded.model) as session:
        work = _Worker(loaded, session, generation, truncate, step)
        counted = [work.checked(name, text) for name, text in zip(names, texts, strict=True)]
        done = [work.run(name, text, words) for name, text, words in zip(names, texts, counted, strict=True)]
        device = session.device
        config = loaded.model.config
        return Run(
            model=loaded.name,
            task=loaded.task,
            schedule=session.schedule_name,
            device=str(device),
            config_digest=f"{device.config.digest:016x}",
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            texts=done,
            similarity=_similarity(done) if loaded.task == "similarity" else None,
        )


class _Worker:
    """Runs single texts; holds what all of them share."""

    def __init__(
        self, loaded: LoadedModel, session: Any, generation: Generation, truncate: bool, step: Step
    ) -> None:
        self.loaded, self.session, self.generation, self.step = loaded, session, generation, step
        new = generation.max_new_tokens if loaded.task == "generation" else 0
        self.room = min(loaded.max_tokens, session.device.config.max_sequence) - new
        self.truncate_to = self.room if truncate else None
        if self.room < 1:
            raise InputError(
                f"{new} new tokens leave no room for a prompt: {loaded.name} on {session.device} holds "
                f"{self.room + new} tokens. Ask for fewer with --max-new-tokens"
            )

    def checked(self, name: str, text: str) -> list[Word]:
        """The words of a text that fits."""
        words = input_words(text, self.loaded.tokenizer, self.truncate_to)
        if not words:
            raise InputError(f"{name} is {text!r} and has no tokens; expected some words")
        if len(words) > self.room:
            raise InputError(
                f"{name} has {len(words)} tokens; {self.loaded.name} on {self.session.device} takes at "
                f"most {self.room} here. Shorten it, split it, or cut it with --truncate"
            )
        return words

    def run(self, name: str, text: str, words: list[Word]) -> TextRun:
        """One text, its output and its record."""
        encoded = self.loaded.tokenizer(
            text, return_tensors="pt", truncation=self.truncate_to is not None, max_length=self.truncate_to
        )
        self.session.reset_record()
        start = time.perf_counter()
        with torch.inference_mode():
            more, output = _TASKS[self.loaded.task](self, encoded)
        seconds = time.perf_counter() - start
        record = replace(self.session.record, layers=list(self.session.record.layers))
        self.step()
        return TextRun(name, text, words + more, record, output, seconds)

    def embed(self, encoded: Any) -> tuple[list[Word], dict[str, Any]]:
        """Unit-length mean over the tokens that live to the end."""
        states = self.loaded.model(**encoded).last_hidden_state
        alive = survivors(self.loaded.model, torch.ones_like(encoded["input_ids"]))
        vector = torch.nn.functional.normalize(states[alive].mean(dim=0), dim=0)
        return [], {"embedding": [round(value, 6) for value in vector.tolist()]}

    def classify(self, encoded: Any) -> tuple[list[Word], dict[str, Any]]:
        """Label and probabilities."""
        chances = self.loaded.model(**encoded).logits[0].softmax(dim=-1).tolist()
        names = self.loaded.model.config.id2label
        scores = {str(names[index]): round(chance, 6) for index, chance in enumerate(chances)}
        return [], {"label": max(scores, key=scores.__getitem__), "scores": scores}

    def generate(self, encoded: Any) -> tuple[list[Word], dict[str, Any]]:
        """Text written after a prompt; the last token is written but not read, so no job sees it."""
        wish, tokenizer = self.generation, self.loaded.tokenizer
        torch.manual_seed(wish.seed)
        sampling = {"temperature": 0.8, "top_k": 50} if wish.sample else {}
        written = self.loaded.model.generate(
            **encoded,
            max_new_tokens=wish.max_new_tokens,
            do_sample=wish.sample,
            pad_token_id=tokenizer.eos_token_id or 0,
            stopping_criteria=[self._count_token],
            **sampling,
        )[0]
        new = written[encoded["input_ids"].shape[1] :].tolist()
        text = tokenizer.decode(new, skip_special_tokens=True)
        return generated_words(new, tokenizer), {"generated": text, "new_tokens": len(new)}

    def _count_token(self, tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """A stopping criterion that never stops, only tells the progress bar."""
        self.step()
        return torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)


_TASKS: dict[str, Callable[[_Worker, Any], tuple[list[Word], dict[str, Any]]]] = {
    "embedding": _Worker.embed,
    "similarity": _Worker.embed,
    "classification": _Worker.classify,
    "generation": _Worker.generate,
}


def steps_of(task: str, texts: int, generation: Generation) -> int:
    """How often ``step`` is told in a run, for the total of a progress bar."""
    return texts * (1 + (generation.max_new_tokens if task == "generation" else 0))


def _similarity(texts: Sequence[TextRun]) -> list[list[float]]:
    vectors = np.array([text.output["embedding"] for text in texts])
    return np.round(vectors @ vectors.T, 4).tolist()
