# SPDX-License-Identifier: BSD-2-Clause
"""The main job: MiniLM searches passages and a GPT-2 writes on, each dense and pruned, on one device."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np

from ..catalog import load
from ..runs.tasks import Generation, Run, Step, Target, run_texts, steps_of

MODELS = ("minilm", "gpt2-prose")


@dataclass(frozen=True)
class Answer:
    """The passage found for a question, dense and pruned, with its cosine similarity."""

    question: str
    dense: str
    dense_score: float
    pruned: str
    pruned_score: float


@dataclass(frozen=True)
class Search:
    """Passages and questions through MiniLM; ``agreement`` is each text's cosine of pruned to dense."""

    dense: Run
    pruned: Run
    answers: list[Answer]
    agreement: list[float]


@dataclass(frozen=True)
class Writing:
    """The same prompt continued by GPT-2 with the same seed, dense and pruned."""

    dense: Run
    pruned: Run


@dataclass(frozen=True)
class Demo:
    """Both halves of the main job."""

    search: Search
    writing: Writing


def demo_texts() -> dict[str, Any]:
    """Passages, questions and the prompt that ship with the package."""
    return tomllib.loads(resources.files(__package__).joinpath("texts.toml").read_text(encoding="utf-8"))


def demo_steps(generation: Generation) -> int:
    """How often ``step`` is told in :func:`run_demo`."""
    texts = demo_texts()
    searched = len(texts["passages"]) + len(texts["questions"])
    return 2 * (steps_of("similarity", searched, generation) + steps_of("generation", 1, generation))


def run_demo(
    target: Target,
    generation: Generation,
    *,
    models: tuple[str, str] | None = None,
    step: Step = lambda: None,
    say: Callable[[str], None] = lambda line: None,
) -> Demo:
    """Run both models, dense and pruned; ``say`` is told what is going on."""
    reader, writer = models or MODELS
    return Demo(
        _search(reader, target, generation, step, say),
        _write(writer, target, generation, step, say),
    )


def _search(
    model: str, target: Target, generation: Generation, step: Step, say: Callable[[str], None]
) -> Search:
    texts = demo_texts()
    say(f"loading {model}")
    loaded = load(model, "similarity")
    labels = [passage["label"] for passage in texts["passages"]]
    labels += [f"question {number}" for number in range(1, len(texts["questions"]) + 1)]
    inputs = [passage["text"] for passage in texts["passages"]] + texts["questions"]
    runs = []
    for schedule in ("dense", "paper-bert"):
        say(f"{model}: {len(inputs)} texts, schedule {schedule}")
        aim = replace(target, schedule=schedule)
        runs.append(run_texts(loaded, inputs, aim, generation=generation, labels=labels, step=step))
    dense, pruned = (np.array([text.output["embedding"] for text in run.texts]) for run in runs)
    found = len(texts["passages"])
    answers = _answers(
        texts["questions"], labels, dense[found:] @ dense[:found].T, pruned[found:] @ pruned[:found].T
    )
    return Search(*runs, answers, np.round((dense * pruned).sum(axis=1), 4).tolist())


def _answers(questions: list[str], labels: list[str], dense: np.ndarray, pruned: np.ndarray) -> list[Answer]:
    answers = []
    for question, before, after in zip(questions, dense, pruned, strict=True):
        best = int(before.argmax()), int(after.argmax())
        answers.append(
            Answer(question, labels[best[0]], float(before[best[0]]), labels[best[1]], float(after[best[1]]))
        )
    return answers


def _write(
    model: str, target: Target, generation: Generation, step: Step, say: Callable[[str], None]
) -> Writing:
    say(f"loading {model}")
    loaded = load(model, "generation")
    runs = []
    for schedule in ("dense", "paper-gpt2"):
        say(f"{model}: {generation.max_new_tokens} tokens, schedule {schedule}")
        aim = replace(target, schedule=schedule)
        prompt = [demo_texts()["prompt"]]
        runs.append(run_texts(loaded, prompt, aim, generation=generation, labels=["prompt"], step=step))
    return Writing(*runs)
