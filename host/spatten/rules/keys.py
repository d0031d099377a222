# SPDX-License-Identifier: BSD-2-Clause
"""Which planes of which keys a query reads. Each rule gives the scores that softmax sees, and the reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from .planes import Rows


class Sight(NamedTuple):
    """What queries look at.

    Attributes
    ----------
    query : integers ``[H, n, D]``.
    keys : all rows of K.
    unit : ``[H, n, T]``, from an integer score to the exponent of softmax.
    seen : ``bool [n, T]``, the keys that each query may see.
    """

    query: torch.Tensor
    keys: Rows
    unit: torch.Tensor
    seen: torch.Tensor

    def scores(self, depth: int, *, middle: bool = False) -> torch.Tensor:
        """Exponents ``[H, n, T]`` from the first planes; minus infinity where nothing is seen."""
        integers = self.query @ self.keys.upto(depth, middle=middle).transpose(-1, -2)
        return (integers * self.unit).masked_fill(~self.seen, -math.inf)

    def slack(self, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        """How far planes not yet read can lower and raise a score: two numbers a query, in its unit."""
        most = (1 << self.keys.layout.below(depth)) - 1
        down, up = (
            part.sum(dim=-1, keepdim=True) * most
            for part in (-self.query.clamp(max=0), self.query.clamp(min=0))
        )
        return down * self.unit, up * self.unit


class Looked(NamedTuple):
    """The scores ``[H, n, T]``, minus infinity where a key has no weight, and planes of each key read."""

    scores: torch.Tensor
    depth: torch.Tensor


class KeyRule(Protocol):
    """Reads K."""

    def __call__(self, sight: Sight) -> Looked: ...


def standard(scores: torch.Tensor, of: str) -> torch.Tensor:
    """What a threshold is a share of: the ``sum`` of all weights, or the ``largest`` one; ``[H, n, 1]``."""
    return scores.logsumexp(dim=-1, keepdim=True) if of == "sum" else scores.amax(dim=-1, keepdim=True)


def logarithm(threshold: float) -> float:
    """Of a threshold that may be 0: nothing is below it."""
    return math.log(threshold) if threshold else -math.inf


@dataclass(frozen=True)
class Whole:
    """All planes of all keys."""

    def __call__(self, sight: Sight) -> Looked:
        planes = len(sight.keys.layout.widths)
        return Looked(sight.scores(planes), sight.seen.expand_as(sight.unit) * planes)


@dataclass(frozen=True)
class ByRow:
    """The paper's: the MSBs of all keys; all planes of all keys where no probability reaches a threshold."""

    threshold: float

    def __call__(self, sight: Sight) -> Looked:
        first = sight.scores(1)
        sure = first.amax(dim=-1, keepdim=True) - standard(first, "sum") >= logarithm(self.threshold)
        whole = Whole()(sight)
        depth = torch.where(sure, sight.seen.long(), whole.depth)
        return Looked(torch.where(sure, first, whole.scores), depth)


@dataclass(frozen=True)
class ByKey:
    """The MSBs of all keys; the other planes of those alone that are likely by their MSBs.

    Planes mix within a row, so what is not read stands at its midpoint. A constant would not cancel here.
    """

    threshold: float
    of: str = "sum"

    def __call__(self, sight: Sight) -> Looked:
        first = sight.scores(1, middle=True)
        likely = (first - standard(first, self.of) >= logarithm(self.threshold)) & sight.seen
        whole = Whole()(sight)
        return Looked(
            torch.where(likely, whole.scores, first), torch.where(likely, whole.depth, sight.seen.long())
        )


@dataclass(frozen=True)
class ByKeyShift:
    """By key as contract 1.1 has it (section 4): a power of two of the sum, and integers that stay small.

    The first pass sees MSBs, whose missing constant cancels. Keys above ``2**-shift`` of the sum refetch and
    add their LSBs less the midpoint, so that the others stand at theirs. The maximum of the second pass is
    taken over the refetched keys alone; a key that stands above it counts as if it stood there.
    """

    shift: int

    def __call__(self, sight: Sight) -> Looked:
        first = sight.scores(1, middle=True)
        likely = (first - standard(first, "sum") > -self.shift * math.log(2)) & sight.seen
        whole = Whole()(sight)
        most = whole.scores.masked_fill(~likely, -math.inf).amax(dim=-1, keepdim=True)
        rest = torch.where(likely.any(dim=-1, keepdim=True), first.minimum(most), first)
        return Looked(
            torch.where(likely, whole.scores, rest), torch.where(likely, whole.depth, sight.seen.long())
        )


@dataclass(frozen=True)
class EarlyStop:
    """Token-Picker's (arXiv 2407.15131): plane after plane, without the keys that cannot matter any more.

    What the planes not yet read can add to a score is bounded by the query alone. A key is given up once the
    upper bound of its weight is below a share of the sum of the lower bounds of all keys, which holds for
    every value of the missing bits, or of the largest of them. What is given up has no weight at all. The
    best key is never given up. The paper streams keys and bounds by those that it has seen; here a plane of
    all keys comes first, so the bound is tighter.
    """

    threshold: float
    of: str = "sum"

    def __call__(self, sight: Sight) -> Looked:
        alive = sight.seen.expand_as(sight.unit)
        depth, low, scores = torch.zeros_like(alive, dtype=torch.long), sight.scores(1), sight.scores(1)
        for plane in range(1, len(sight.keys.layout.widths) + 1):
            depth = depth + alive
            scores = sight.scores(plane)
            down, up = sight.slack(plane)
            low = torch.where(alive, scores - down, low)
            high = (scores + up).masked_fill(~alive, -math.inf)
            best = high >= high.amax(dim=-1, keepdim=True)
            alive = alive & (best | (high - standard(low, self.of) >= logarithm(self.threshold)))
        return Looked(scores.masked_fill(~alive, -math.inf), depth)
