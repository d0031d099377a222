# SPDX-License-Identifier: BSD-2-Clause
"""From scores of single examples to a quality with its 95 % interval, and to its change against the baseline.

Both rows of a comparison saw the same examples, so changes are judged pair by pair: that is far sharper than
two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES, SEED = 9999, 0


class Estimate(NamedTuple):
    """A number and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Metric:
    """How scores are summed up, compared and written.

    Attributes
    ----------
    name : of the quality, ``accuracy`` or ``perplexity``.
    estimate : quality of a row from its scores.
    change : of a row against the baseline, from (scores, baseline scores) of the same examples.
    more_is_better : direction.
    scale, digits, unit : how a quality is printed.
    change_unit : what a change, times 100, is printed in.
    """

    name: str
    estimate: Callable[[Scores], Estimate]
    change: Callable[[Scores, Scores], Estimate]
    more_is_better: bool
    scale: float
    digits: int
    unit: str
    change_unit: str

    def verdict(self, change: Estimate) -> str:
        """``lost`` or ``gained`` if the interval of the change excludes zero, else ``no change shown``."""
        if not change.excludes_zero():
            return "no change shown"
        return "gained" if (change.value > 0) == self.more_is_better else "lost"


def share(scores: Scores) -> Estimate:
    """Share of ones among scores of 0 and 1, with Wilson's score interval."""
    right, n = _count(scores), len(scores)
    ends = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    value = right / n
    return Estimate(value, min(value, float(ends.low)), max(value, float(ends.high)))


def share_change(scores: Scores, baseline: Scores) -> Estimate:
    """Difference of two shares over the same examples.

    Only examples that changed sides count. Given their number, how many improved is binomial: the exact
    interval (Clopper and Pearson) of that share becomes the interval of the difference, which therefore
    excludes zero exactly when McNemar's exact test rejects at 5 %.
    """
    differences = paired(scores, baseline)
    better, changed, n = _count(differences > 0), _count(differences != 0), len(differences)
    if not changed:
        return Estimate(0.0, 0.0, 0.0)
    ends = stats.binomtest(better, changed).proportion_ci(CONFIDENCE, method="exact")
    value, low, high = (changed / n * (2 * part - 1) for part in (better / changed, ends.low, ends.high))
    return Estimate(float(value), float(low), float(high))


def perplexity(scores: Scores) -> Estimate:
    """exp of the mean negative log-likelihood; windows are resampled, for their tokens hang together."""
    return Estimate(*(float(np.exp(end)) for end in bootstrapped_mean(scores)))


def perplexity_change(scores: Scores, baseline: Scores) -> Estimate:
    """Relative change of perplexity (0.02 is 2 % worse), from the differences of the same windows."""
    return Estimate(*(float(np.expm1(end)) for end in bootstrapped_mean(paired(scores, baseline))))


def bootstrapped_mean(values: Scores) -> Estimate:
    """Mean with its percentile bootstrap interval; the same values always give the same interval."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} windows cannot be resampled; expected 2 or more: raise the scale")
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    ends = found.confidence_interval
    return Estimate(float(values.mean()), float(ends.low), float(ends.high))


def paired(scores: Scores, baseline: Scores) -> Scores:
    if scores.shape != baseline.shape:
        raise ValueError(
            f"{len(scores)} scores against {len(baseline)} of the baseline; expected the same examples"
        )
    return scores - baseline


def _count(truths: NDArray[np.generic]) -> int:
    return int(np.count_nonzero(truths))


ACCURACY = Metric(
    name="accuracy",
    estimate=share,
    change=share_change,
    more_is_better=True,
    scale=100.0,
    digits=1,
    unit=" %",
    change_unit=" points",
)
PERPLEXITY = Metric(
    name="perplexity",
    estimate=perplexity,
    change=perplexity_change,
    more_is_better=False,
    scale=1.0,
    digits=2,
    unit="",
    change_unit=" %",
)
