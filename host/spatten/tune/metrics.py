# SPDX-License-Identifier: BSD-2-Clause
"""Metrics of the tasks that the quality study does not have, and the loss of one in points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..quality.metrics import Estimate, Metric, bootstrapped_mean, paired


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
#: Mean squared error over the variance of what was expected; 100 % is what the mean alone would give.
UNEXPLAINED = _mean_metric("unexplained variance", " %", more_is_better=False)


def lost_points(metric: Metric, scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> Estimate:
    """What was lost against ``baseline``, in points or percent of perplexity; a gain is negative."""
    change = metric.change(scores, baseline)
    if metric.more_is_better:
        return Estimate(-100 * change.value, -100 * change.high, -100 * change.low)
    return Estimate(*(100 * part for part in change))
