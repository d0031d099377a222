# SPDX-License-Identifier: BSD-2-Clause
"""What a model is tuned for: its head, how rows become tokens, the loss, and a score per example."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import InputError
from ..hf import survivors
from ..quality.metrics import ACCURACY, PERPLEXITY, Metric
from ..quality.tasks import retrieved
from .data import Examples, Row, listed
from .metrics import F1, FORETOLD, UNEXPLAINED

Feature = dict[str, Any]
Batch = dict[str, torch.Tensor]
Scores = NDArray[np.float64]
#: Temperature of the probabilities that a teacher is followed in: what it holds unlikely counts too.
SOFTNESS = 2.0


def texts_of(feature: Feature) -> list[list[int]]:
    """Token ids of the texts that an example is of: one, or a text and its match."""
    return [feature[name] for name in ("input_ids", "match_ids") if name in feature]


class TuneTask(ABC):
    """One kind of task.

    Attributes
    ----------
    head : transformers' class for it.
    metric : how scores are summed up and compared.
    generates : scored on generation steps.
    compared : what schedules are compared by; what was found by something else has other numbers.
    told : what else is told of an example, by name, and how it is summed up; no schedule is chosen by it.
    """

    name: ClassVar[str]
    head: ClassVar[Any]
    metric: ClassVar[Metric]
    generates: ClassVar[bool] = False
    compared: ClassVar[str] = "distance from the dense answers"
    told: ClassVar[Mapping[str, Metric]] = {}

    def __init__(self, examples: Examples, max_tokens: int) -> None:
        self.examples, self.max_tokens = examples, max_tokens

    def config(self) -> dict[str, Any]:
        """Entries of the model's config that the head needs."""
        return {}

    def follow(self, config: PreTrainedConfig) -> None:
        """Take over what the model's own config says of its head."""

    @abstractmethod
    def features(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Feature]:
        """Rows as token ids and what is expected of them; every feature has ``input_ids``."""

    def collate(self, features: Sequence[Feature]) -> Batch:
        """A padded batch, as tensors."""
        batch = padded([feature["input_ids"] for feature in features])
        if "token_type_ids" in features[0]:
            batch["token_type_ids"] = padded([f["token_type_ids"] for f in features])["input_ids"]
        for name in ("labels", "start_positions", "end_positions"):
            if name in features[0]:
                batch[name] = torch.tensor([feature[name] for feature in features])
        return batch

    def lesson(
        self, model: PreTrainedModel, batch: Batch, *, pruned: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of a batch, the head's own unless a task says otherwise, and the answers it is of."""
        output = model(**batch)
        return output.loss, output.logits

    def criterion(self, model: PreTrainedModel, batch: Batch, *, pruned: bool) -> torch.Tensor:
        """Mean loss that trained models are compared by: all, unless a part of it is what is scored."""
        return self.lesson(model, batch, pruned=pruned)[0]

    def judged(self, answers: torch.Tensor) -> torch.Tensor:
        """Of a lesson's answers those that are scored: all, unless a task says otherwise."""
        return answers

    def distance(self, found: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean distance of answers from a teacher's, both as a lesson gives them, or of it what is judged."""
        return divergence(found, wanted)

    @abstractmethod
    def answers(self, model: PreTrainedModel, batch: Batch) -> NDArray[np.float64]:
        """What the model says to each example of a batch, ``[B, ...]``."""

    @abstractmethod
    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        """One score per example."""

    def asides(self, answers: NDArray[np.float64]) -> dict[str, Scores]:
        """What else is told of each example, named as in ``told``."""
        return {}


def padded(rows: Sequence[Sequence[int]]) -> Batch:
    """Ids padded on the right with 0, and their mask."""
    parts = [torch.tensor(list(row), dtype=torch.long) for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
    places = torch.arange(ids.shape[1])[None]
    return {"input_ids": ids, "attention_mask": (places < torch.tensor([[len(row)] for row in rows])).long()}


def divergence(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of softened probabilities, of logits ``[..., classes]``.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, section 2.
    """
    ours, theirs = (
        functional.log_softmax(part / SOFTNESS, dim=-1).flatten(0, -2) for part in (found, wanted)
    )
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True) * SOFTNESS**2


class _Text(TuneTask):
    """One text a row."""

    head = AutoModelForSequenceClassification

    def features(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Feature]:
        texts = [str(row["text"]) for row in rows]
        ids = tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        return [{"input_ids": own, "labels": self.label(row)} for own, row in zip(ids, rows, strict=True)]

    @abstractmethod
    def label(self, row: Row) -> Any: ...

    def answers(self, model: PreTrainedModel, batch: Batch) -> NDArray[np.float64]:
        asked = {name: part for name, part in batch.items() if name != "labels"}
        found: NDArray[np.float64] = model(**asked).logits.double().cpu().numpy()
        return found


class Classifying(_Text):
    """A label for a text, out of those that the training rows have."""

    name, metric = "classification", ACCURACY

    def __init__(self, examples: Examples, max_tokens: int) -> None:
        super().__init__(examples, max_tokens)
        self.labels = sorted({str(row["label"]) for row in examples.train}, key=_place)
        if len(self.labels) < 2:
            raise InputError(f"the training rows have the labels {self.labels}; expected two or more")

    def follow(self, config: PreTrainedConfig) -> None:
        """A model that knows these labels keeps their order, in which its head answers."""
        own = config.label2id or {}
        if set(self.labels) <= set(own) and sorted(own.values()) == list(range(len(own))):
            self.labels = sorted(own, key=lambda label: int(own[label]))

    def config(self) -> dict[str, Any]:
        ids = {label: index for index, label in enumerate(self.labels)}
        return {"num_labels": len(ids), "label2id": ids, "id2label": dict(enumerate(self.labels))}

    def label(self, row: Row) -> int:
        if str(row["label"]) not in self.labels:
            raise InputError(
                f"a row has the label {row['label']!r}; the training rows have {listed(self.labels, 10)}. "
                "Add training rows of it, or leave it out"
            )
        return self.labels.index(str(row["label"]))

    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        labels = np.array([feature["labels"] for feature in features])
        return np.asarray(answers.argmax(axis=1) == labels, np.float64)


def _place(label: str) -> tuple[float, str]:
    """Numbers by their size, as ids of classes are, in front of words."""
    return (float(label) if label.isdecimal() else math.inf), label


class Regressing(_Text):
    """A number for a text; scored by its squared error over the variance of the expected numbers."""

    name, metric = "regression", UNEXPLAINED

    def __init__(self, examples: Examples, max_tokens: int) -> None:
        super().__init__(examples, max_tokens)
        for name, rows in (("development", examples.development), ("test", examples.test)):
            if rows and len({self.label(row) for row in rows}) < 2:
                raise InputError(
                    f"all {name} rows have the label {rows[0]['label']!r}; regression is scored by the "
                    "variance of them. Add rows"
                )

    def config(self) -> dict[str, Any]:
        return {"num_labels": 1, "problem_type": "regression"}

    def label(self, row: Row) -> float:
        try:
            found = float(row["label"])
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise InputError(f"a row has the label {row['label']!r}; regression expects a number")
        return found

    def distance(self, found: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
        return functional.mse_loss(found, wanted)

    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        wanted = np.array([feature["labels"] for feature in features])
        return np.square(answers[:, 0] - wanted) / max(float(wanted.var()), 1e-12)


class Retrieving(TuneTask):
    """The match of a text among all matches, by inner product of :func:`embedded`."""

    name, head, metric = "retrieval", AutoModel, ACCURACY
    compared = "distance from the dense answers, of tokens that live to the end"
    #: Of similarities in the contrastive loss; the model's own training used it.
    temperature = 0.05

    def features(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Feature]:
        options = {"truncation": True, "max_length": self.max_tokens}
        sides = [
            tokenizer([str(r[side]) for r in rows], **options)["input_ids"] for side in ("text", "match")
        ]
        return [{"input_ids": text, "match_ids": match} for text, match in zip(*sides, strict=True)]

    def collate(self, features: Sequence[Feature]) -> Batch:
        """Texts first, then their matches: ``[2 B, tokens]``."""
        return padded([text for side in zip(*map(texts_of, features), strict=True) for text in side])

    def lesson(
        self, model: PreTrainedModel, batch: Batch, *, pruned: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = embedded(model, batch)
        texts, matches = embeddings.chunk(2)
        likeness = texts @ matches.T / self.temperature
        own = torch.arange(len(texts), device=likeness.device)
        both = functional.cross_entropy(likeness, own) + functional.cross_entropy(likeness.T, own)
        return both / 2, embeddings

    def distance(self, found: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
        return (found - wanted).square().sum(dim=-1).mean()

    def answers(self, model: PreTrainedModel, batch: Batch) -> NDArray[np.float64]:
        sides = torch.stack(embedded(model, batch).chunk(2), dim=1)
        found: NDArray[np.float64] = sides.double().cpu().numpy()
        return found

    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        return retrieved(answers[:, 0], answers[:, 1])


def embedded(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Unit-length means over the tokens that live to the end, all in float: ``[B, hidden]``.

    States of pruned ones are of earlier layers: with a quarter of the tokens pruned, a mean over all is twice
    as far from the dense one.
    """
    states = model(**batch).last_hidden_state
    alive = survivors(model, batch["attention_mask"])[..., None].to(model.dtype)
    return functional.normalize((states * alive).sum(dim=1) / alive.sum(dim=1), dim=-1)


#: A logit that leaves no probability, and is a number: differences of two are, too.
_NEVER = -1e4


class Answering(TuneTask):
    """The span of a context that answers a question, scored by F1 over its tokens."""

    name, head, metric = "qa", AutoModelForQuestionAnswering, F1
    #: Longest answer, in tokens.
    longest = 30

    def features(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Feature]:
        return [feature for row in rows if (feature := self._feature(tokenizer, row)) is not None]

    def _feature(self, tokenizer: PreTrainedTokenizerBase, row: Row) -> Feature | None:
        """``None`` for a row whose answer was cut off with the end of its context, or with all of it."""
        context, answer = str(row["context"]), str(row["answer"])
        start = context.find(answer)
        if start < 0:
            raise InputError(f"the answer {answer!r} does not stand in its context {context[:60]!r}...")
        question = str(row["question"])
        asked = len(tokenizer(question, add_special_tokens=False)["input_ids"])
        if asked + tokenizer.num_special_tokens_to_add(pair=True) >= self.max_tokens:
            return None
        options = {"truncation": "only_second", "max_length": self.max_tokens}
        found = tokenizer(question, context, **options)
        first, last = (
            found.char_to_token(place, sequence_index=1) for place in (start, start + len(answer) - 1)
        )
        if first is None or last is None:
            return None
        inside = [kind == 1 for kind in found.sequence_ids(0)]
        feature = {name: found[name] for name in ("input_ids", "token_type_ids") if name in found}
        return {**feature, "start_positions": first, "end_positions": last, "inside": inside}

    def lesson(
        self, model: PreTrainedModel, batch: Batch, *, pruned: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        output = model(**batch)
        return output.loss, torch.stack([output.start_logits, output.end_logits], dim=1)

    def distance(self, found: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
        padding = batch["attention_mask"][:, None] == 0
        return divergence(found.masked_fill(padding, _NEVER), wanted.masked_fill(padding, _NEVER))

    def answers(self, model: PreTrainedModel, batch: Batch) -> NDArray[np.float64]:
        asked = {name: part for name, part in batch.items() if not name.endswith("positions")}
        found = model(**asked)
        both = torch.stack([found.start_logits, found.end_logits], dim=-1).double().cpu().numpy()
        return np.pad(both, ((0, 0), (0, self.max_tokens - both.shape[1]), (0, 0)))

    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        return np.array([self._f1(*pair) for pair in zip(answers, features, strict=True)])

    def _f1(self, logits: NDArray[np.float64], feature: Feature) -> float:
        first, last = self._span(logits, feature["inside"])
        found = set(range(first, last + 1))
        wanted = set(range(feature["start_positions"], feature["end_positions"] + 1))
        ids = feature["input_ids"]
        shared = sum((Counter(ids[i] for i in found) & Counter(ids[i] for i in wanted)).values())
        return 2 * shared / (len(found) + len(wanted))

    def _span(self, logits: NDArray[np.float64], inside: Sequence[bool]) -> tuple[int, int]:
        size = len(inside)
        allowed = np.where(inside, 0.0, -1e9)
        sums = (logits[:size, 0] + allowed)[:, None] + (logits[:size, 1] + allowed)[None]
        span = np.triu(np.ones((size, size), bool)) & ~np.triu(np.ones((size, size), bool), self.longest)
        first, last = np.unravel_index(np.where(span, sums, -np.inf).argmax(), sums.shape)
        return int(first), int(last)


class Foretelling(TuneTask):
    """The next token of a text, scored on generation steps behind a prompt, as the quality study does.

    An answer is, of the steps and then of the prompt, the mean surprise in nats and the share of tokens that
    were the likeliest: ``[B, 4]``.
    """

    name, head, metric = "lm", AutoModelForCausalLM, PERPLEXITY
    generates = True
    told: ClassVar[Mapping[str, Metric]] = {
        "next-token accuracy of steps": FORETOLD,
        "perplexity of prompts": PERPLEXITY,
        "next-token accuracy of prompts": FORETOLD,
    }
    #: Last tokens of a window that are fed one by one.
    scored = 48

    def features(self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> list[Feature]:
        """Windows of ``max_tokens`` ids, or those that the rows hold already."""
        ready = [{"input_ids": list(row["ids"])[-self.max_tokens :]} for row in rows if "ids" in row]
        texts = [str(row["text"]) for row in rows if "ids" not in row]
        if not texts:
            return ready
        end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
        stream = [i for ids in tokenizer(texts, verbose=False)["input_ids"] for i in [*end, *ids]]
        starts = range(0, len(stream) - self.max_tokens + 1, self.max_tokens)
        if not starts:
            raise InputError(f"the texts are {len(stream)} tokens; expected {self.max_tokens} or more")
        return ready + [{"input_ids": stream[start : start + self.max_tokens]} for start in starts]

    def lesson(
        self, model: PreTrainedModel, batch: Batch, *, pruned: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self._logits(model, batch["input_ids"], steps=pruned)
        return _surprise(logits, batch["input_ids"]).mean(), logits

    def criterion(self, model: PreTrainedModel, batch: Batch, *, pruned: bool) -> torch.Tensor:
        """Of the steps: prompts are ten times their tokens, and nothing is pruned there."""
        logits = self._logits(model, batch["input_ids"], steps=pruned)
        return self.judged(_surprise(logits, batch["input_ids"])).mean()

    def judged(self, answers: torch.Tensor) -> torch.Tensor:
        return answers[:, -self.steps :]

    def answers(self, model: PreTrainedModel, batch: Batch) -> NDArray[np.float64]:
        ids = batch["input_ids"]
        logits = self._logits(model, ids, steps=True)
        right = (logits.argmax(dim=-1) == ids[:, 1:]).float()
        both = torch.stack([_surprise(logits, ids), right], dim=-1).double()
        prompt, steps = both[:, : -self.steps], both[:, -self.steps :]
        found: NDArray[np.float64] = torch.cat([steps.mean(dim=1), prompt.mean(dim=1)], dim=1).cpu().numpy()
        return found

    def scores(self, answers: NDArray[np.float64], features: Sequence[Feature]) -> Scores:
        return answers[:, 0]

    def asides(self, answers: NDArray[np.float64]) -> dict[str, Scores]:
        return dict(zip(self.told, answers[:, 1:].T, strict=True))

    @property
    def steps(self) -> int:
        """Tokens of a window that are fed one by one."""
        return min(self.scored, self.max_tokens // 2)

    def _logits(self, model: PreTrainedModel, ids: torch.Tensor, *, steps: bool) -> torch.Tensor:
        """Of every token but the first, ``[B, tokens - 1, vocabulary]``; the last step by step, if wanted."""
        border = ids.shape[1] - 1 - (self.steps if steps else 0)
        answer = model(input_ids=ids[:, :border], use_cache=steps)
        logits = [answer.logits]
        for place in range(border, ids.shape[1] - 1):
            feed, cache = ids[:, place : place + 1], answer.past_key_values
            answer = model(input_ids=feed, past_key_values=cache, use_cache=True)
            logits.append(answer.logits)
        return torch.cat(logits, dim=1).float()


def _surprise(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Nats of every token but the first, ``[B, tokens - 1]``."""
    nats = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return nats.view(len(ids), -1)


KINDS: dict[str, type[TuneTask]] = {
    kind.name: kind for kind in (Classifying, Regressing, Retrieving, Answering, Foretelling)
}
