# SPDX-License-Identifier: BSD-2-Clause
"""Metrics of the tasks that the quality study does not have, and the loss of one in points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ..quality.metrics import CONFIDENCE, Estimate, Metric, bootstrapped_mean, paired


def _mean_change(scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> Estimate:
    return bootstrapped_mean(paired(scores, baseline))


def _mean_metric(name: str, unit: str, *, more_is_better: bool) -> Metric:
    return Metric(
        name=name,
        estimate=bootstrapped_mean,
        change=_mean_change,
        more_is_better=more_is_better,
        scale=100.0,
        digits=1,
        unit=unit,
        change_unit=" points",
    )


F1 = _mean_metric("F1", " %", more_is_better=True)
#: Share of a window's tokens that were the likeliest; windows are resampled, for their tokens hang together.
FORETOLD = _mean_metric("next-token accuracy", " %", more_is_better=True)
#: Mean squared error over the variance of what was expected; 100 % is what the mean alone would give.
UNEXPLAINED = _mean_metric("unexplained variance", " %", more_is_better=False)


def most_lost(scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> float:
    """Upper end of the loss of a share over the same examples, in points: that of Tango's score interval.

    McNemar's exact interval takes as given how many examples changed sides, and is never wider than their
    share: of eight examples none of which changed it says that nothing was lost. This one knows how few.
    """
    differences = paired(scores, baseline)
    better, worse, n = (differences > 0).sum(), (differences < 0).sum(), len(differences)

    def errors(loss: float) -> float:
        """By how many standard errors more would be lost than was."""
        b, c = (2 * n + better - worse) * loss - better - worse, -better * loss * (1 - loss)
        share = (math.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        return (n * loss - worse + better) / math.sqrt(n * (2 * share + loss * (1 - loss)))

    low, high, bound = (worse - better) / n, 1.0, float(norm.ppf((1 + CONFIDENCE) / 2))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if errors(middle) < bound else (low, middle)
    return 100 * float(high)


def lost_points(metric: Metric, scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> Estimate:
    """What was lost against ``baseline``, in points or percent of perplexity; a gain is negative."""
    change = metric.change(scores, baseline)
    if metric.more_is_better:
        return Estimate(-100 * change.value, -100 * change.high, -100 * change.low)
    return Estimate(*(100 * part for part in change))
