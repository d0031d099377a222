# SPDX-License-Identifier: BSD-2-Clause
"""Intervals and paired comparisons of the quality study, against closed forms and SciPy's own tests."""

import math

import numpy as np
import pytest
from scipy import stats

from spatten.quality.metrics import ACCURACY, PERPLEXITY, perplexity, perplexity_change, share, share_change


def ones(right: int, n: int) -> np.ndarray:
    """``right`` ones, then zeros."""
    return (np.arange(n) < right).astype(float)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (1, 7), (81, 100), (300, 300)])
def test_share_has_wilsons_interval(right: int, n: int) -> None:
    z, p = stats.norm.ppf(0.975), right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    found = share(ones(right, n))
    assert found == pytest.approx((p, centre - half, centre + half), abs=1e-12)


@pytest.mark.parametrize(("worse", "better"), [(5, 0), (6, 0), (0, 6), (12, 3), (10, 4), (40, 20), (3, 3)])
def test_share_change_excludes_zero_when_mcnemars_exact_test_rejects(worse: int, better: int) -> None:
    baseline = ones(worse, 200)
    scores = baseline.copy()
    scores[:worse], scores[100 : 100 + better] = 0, 1
    found = share_change(scores, baseline)
    assert found.value == pytest.approx((better - worse) / 200)
    assert found.low <= found.value <= found.high
    assert found.excludes_zero() == (stats.binomtest(better, better + worse).pvalue < 0.05)


def test_nothing_changed_is_no_change() -> None:
    assert share_change(ones(3, 9), ones(3, 9)) == (0.0, 0.0, 0.0)


def test_perplexity_interval_is_seeded_and_near_the_normal_one() -> None:
    scores = np.random.default_rng(1).normal(4.0, 0.3, 400)
    found = perplexity(scores)
    assert found == perplexity(scores)
    assert found.value == pytest.approx(math.exp(scores.mean()))
    ends = stats.norm.interval(0.95, scores.mean(), scores.std(ddof=1) / 20)
    assert np.log([found.low, found.high]) == pytest.approx(ends, abs=0.003)


def test_paired_change_sees_what_two_intervals_cannot() -> None:
    draws = np.random.default_rng(2)
    baseline = draws.normal(4.0, 0.5, 16)
    worse = baseline + 0.02 + draws.normal(0, 0.005, 16)
    assert perplexity(worse).low < perplexity(baseline).high
    found = perplexity_change(worse, baseline)
    assert found.low > 0
    assert found.value == pytest.approx(math.expm1((worse - baseline).mean()))
    assert PERPLEXITY.verdict(found) == "lost"


def test_verdicts_know_the_direction() -> None:
    more, less, same = ones(50, 100), ones(20, 100), ones(50, 100)
    assert ACCURACY.verdict(share_change(less, more)) == "lost"
    assert ACCURACY.verdict(share_change(more, less)) == "gained"
    assert ACCURACY.verdict(share_change(same, more)) == "no change shown"
    assert PERPLEXITY.verdict(perplexity_change(np.full(9, 3.9), np.full(9, 4.0))) == "gained"


def test_scores_of_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^3 scores against 4 of the baseline; expected the same examples$"):
        share_change(ones(1, 3), ones(1, 4))


def test_one_window_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^1 windows cannot be resampled; expected 2 or more: raise the scale$"
    ):
        perplexity(np.array([4.0]))
