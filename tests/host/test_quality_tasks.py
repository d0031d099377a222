# SPDX-License-Identifier: BSD-2-Clause
"""Tasks of the quality study with made-up texts and models whose right answers are known."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatten.quality import tasks as tasks_module
from spatten.quality.data import Labelled
from spatten.quality.tasks import Classification, Perplexity, Retrieval, Sample, pairs, retrieved

WORDS = ["good", "fine", "great", "bad", "poor", "weak"]


class Counting:
    """Embeds a text as counts of known words; gives every token the same probability."""

    def __init__(self, flip: float = 1.0) -> None:
        self.flip, self.encoded = flip, 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded += len(texts)
        return self.flip * np.array([[text.split().count(word) for word in WORDS] for text in texts], float)

    def log_probs(self, tokens: Sequence[int], context: int) -> np.ndarray:
        return np.full(len(tokens) - context, -2.0)


def reviews() -> list[Labelled]:
    """Forty texts whose label is which half of the words they use."""
    return [Labelled(f"{WORDS[number % 6]} {number}", int(number % 6 < 3)) for number in range(60)]


CLASSIFY = Classification("c", "Reviews", "own", reviews, size=20, train_size=30)


def test_training_examples_do_not_depend_on_the_size_and_are_never_tested() -> None:
    train, test = CLASSIFY.examples(Sample(20))
    again, fewer = CLASSIFY.examples(Sample(5))
    assert (len(train), len(test), train, test[:5]) == (30, 20, again, fewer)
    assert not set(train) & set(test)
    assert CLASSIFY.examples(Sample(20, seed=1))[1] != test


def test_the_head_is_trained_on_the_reference_once(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    prepared = CLASSIFY.prepare(first, Sample(20), "weights", tmp_path)
    assert prepared.score(Counting()).tolist() == [1.0] * 20
    assert prepared.score(Counting(flip=-1.0)).mean() == 0.0
    assert CLASSIFY.prepare(second, Sample(20), "weights", tmp_path).score(Counting()).all()
    assert (first.encoded, second.encoded) == (30, 0)
    CLASSIFY.prepare(second, Sample(20), "other weights", tmp_path)
    assert second.encoded == 30


def test_what_is_set_aside_is_never_reported_on() -> None:
    task = replace(CLASSIFY, development=10)
    _, reported = task.examples(Sample(20))
    train, aside = task.examples(Sample(20, development=True))
    assert (len(reported), len(aside)) == (20, 10)
    assert len({*train, *aside, *reported}) == 30 + 10 + 20


def test_guess_is_the_larger_class(tmp_path: Path) -> None:
    prepared = CLASSIFY.prepare(Counting(), Sample(20), "weights", tmp_path)
    labels = [example.label for example in CLASSIFY.examples(Sample(20))[1]]
    assert prepared.guess == pytest.approx(max(sum(labels), 20 - sum(labels)) / 20)


def test_passages_do_not_overlap_and_leave_the_rest() -> None:
    text = " ".join(map(str, range(11)))
    assert pairs(text, 2) == [("0 1", "2 3"), ("4 5", "6 7")]


def test_retrieval_takes_equal_shares_of_its_sources() -> None:
    sources = [["a " * 40, "a " * 40], ["b " * 40]]
    task = Retrieval("r", "Passages", "own", lambda: sources, size=4, words=4)
    found = [first[0] for first, _ in task.examples(Sample(4))]
    assert found == ["a", "a", "b", "b"]


def test_retrieval_sets_as_many_aside_in_each_source() -> None:
    sources = [[" ".join(f"{name}{number}" for number in range(48))] for name in "ab"]
    task = Retrieval("r", "Passages", "own", lambda: sources, size=8, development=4, words=4)
    aside, reported = task.examples(Sample(8, development=True)), task.examples(Sample(8))
    assert [first[0] for first, _ in aside] == ["a", "a", "b", "b"]
    assert [first[0] for first, _ in reported] == ["a"] * 4 + ["b"] * 4
    assert not set(aside) & set(reported)


def test_more_passages_than_candidates_make_more_sets_of_equal_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five passages, three of them one direction: each is compared within its own set alone."""
    monkeypatch.setattr(tasks_module, "CANDIDATES", 3)
    passages = np.eye(3)[[0, 0, 1, 0, 2]]
    assert retrieved(passages, passages).tolist() == [1.0, 0.0, 1.0, 1.0, 1.0]
    monkeypatch.setattr(tasks_module, "CANDIDATES", 5)
    assert retrieved(passages, passages).tolist() == [1.0, 0.0, 1.0, 0.0, 1.0]


def test_retrieval_counts_own_continuations(tmp_path: Path) -> None:
    passages = np.eye(3)
    continuations = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 0.5, 0.9]])
    assert retrieved(passages, continuations).tolist() == [1.0, 0.0, 0.0]
    text = " ".join(f"{word} {word} {word} {word}" for word in WORDS)
    task = Retrieval("r", "Passages", "own", lambda: [[text]], size=6, words=2)
    assert task.prepare(Counting(), Sample(6), "", tmp_path).score(Counting()).mean() == 1.0


def test_perplexity_scores_the_end_of_separate_windows(tmp_path: Path) -> None:
    task = Perplexity("p", "Text", "own", lambda: "x" * 100, 3, lambda text: list(range(len(text))), 10, 4)
    windows = task.examples(Sample(3))
    assert all(window == list(range(window[0], window[0] + 10)) for window in windows)
    assert len({window[0] for window in windows}) == 3
    assert windows == sorted(windows)
    fresh = replace(task, development=4)
    assert fresh.examples(Sample(4, development=True)) == task.examples(Sample(4))
    assert len({w[0] for w in fresh.examples(Sample(6))} | {w[0] for w in task.examples(Sample(4))}) == 10
    assert task.prepare(Counting(), Sample(3), "", tmp_path).score(Counting()).tolist() == [2.0] * 3
