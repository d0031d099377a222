# SPDX-License-Identifier: BSD-2-Clause
"""Scales, multipliers and limits, against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spatten_drivers.errors import OperandError
from spatten_drivers.quantize import (
    NEVER_REFETCH,
    fixed_point,
    importance_scale,
    quantize,
    refetch_limit,
    score_scale,
    symmetric_scale,
)

finite = st.floats(-1e6, 1e6, width=32)


@given(values=arrays(np.float32, (2, 3, 8), elements=finite), bits=st.sampled_from((4, 6, 8, 10, 12, 16)))
def test_integers_are_symmetric_and_near(values: np.ndarray, bits: int) -> None:
    limit = 2 ** (bits - 1) - 1
    scale = symmetric_scale(values, bits)
    integers, saturated = quantize(values, scale, bits)
    assert saturated.tolist() == [0, 0]
    assert integers.dtype == np.int16
    assert np.abs(integers).max() <= limit
    # Half a step, and the rounding of float32 on the way.
    error = np.abs(integers * scale[:, None, None] - values)
    assert (error <= scale[:, None, None] * (0.5 + limit * 2.0**-22)).all()


def test_the_loudest_value_takes_the_whole_range_of_its_head() -> None:
    values = np.array([[[1.0, -2.0]], [[0.5, 0.25]]], np.float32)
    scale = symmetric_scale(values, 8)
    np.testing.assert_allclose(scale, [2 / 127, 0.5 / 127])
    assert quantize(values, scale, 8)[0].tolist() == [[[64, -127]], [[127, 64]]]
    np.testing.assert_allclose(symmetric_scale(values, 8, headroom=1.5), scale * 1.5)


def test_saturation_is_counted() -> None:
    values = np.array([[[1.0, -1.0, 0.5, 3.0]]], np.float32)
    integers, saturated = quantize(values, np.array([0.5 / 127]), 8)
    assert integers.tolist() == [[[127, -127, 127, 127]]]
    assert saturated.tolist() == [3]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_silence_is_zero(dtype: type[np.floating]) -> None:
    silent = np.zeros((2, 3, 32), dtype)
    scale = symmetric_scale(silent, 12)
    assert (scale > 0).all()
    integers, saturated = quantize(silent, scale, 12)
    assert not integers.any()
    assert saturated.tolist() == [0, 0]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_not_finite(odd: float) -> None:
    values = np.ones((3, 2, 4), np.float32)
    values[1, 1, 2] = odd
    with pytest.raises(OperandError) as error:
        symmetric_scale(values, 8)
    assert str(error.value) == (
        "activations hold NaN or infinity in head(s) [1]; expected finite numbers. Check the model's weights "
        "and inputs"
    )


def one_fixed_point(value: float) -> tuple[int, int]:
    (found,) = fixed_point([value], shift_range=(1, 48), what="scale")
    return found


def test_fixed_point_of_every_head_is_that_of_each() -> None:
    values = [0.0, 3e-5, 1.0, 0.75, 2.0**-60, 1000.3]
    assert fixed_point(values, shift_range=(1, 48), what="scale") == [one_fixed_point(v) for v in values]


@given(st.floats(2.0**-31, 2.0**14))
def test_fixed_point_is_within_2_to_the_minus_16(value: float) -> None:
    mult, shift = one_fixed_point(value)
    assert 0 <= mult < 1 << 16
    assert 1 <= shift <= 48
    assert abs(Fraction(mult, 1 << shift) - Fraction(value)) <= Fraction(value) / (1 << 16)


@given(st.floats(0, 2.0**-32))
def test_small_numbers_keep_what_the_largest_shift_leaves(value: float) -> None:
    mult, shift = one_fixed_point(value)
    assert abs(Fraction(mult, 1 << shift) - Fraction(value)) <= Fraction(1, 1 << 49)


def test_a_multiplier_that_rounds_up_to_the_next_power() -> None:
    assert one_fixed_point(math.nextafter(1.0, 0.0)) == (1 << 15, 15)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_scale_that_is_no_scale(value: float) -> None:
    with pytest.raises(OperandError) as error:
        fixed_point([1.0, value], shift_range=(1, 48), what="scale")
    assert str(error.value) == f"scale is [1.0, {value}]; expected finite numbers that are not negative"


def test_a_scale_that_is_too_large() -> None:
    with pytest.raises(OperandError) as error:
        fixed_point([1.0, 32768.0], shift_range=(1, 48), what="score scale")
    assert str(error.value) == (
        "score scale is 3.277e+04; expected below 3.277e+04. The activations are too large: scale the "
        "model's inputs or use fewer bits"
    )


def test_score_scale_is_a_base_2_exponent_with_12_fraction_bits() -> None:
    ((mult, shift),) = score_scale([0.01], [0.02], 0.125)
    assert mult / 2**shift == pytest.approx(0.01 * 0.02 * 0.125 / math.log(2) * 4096, rel=2**-15)


def test_importance_scale_has_12_fraction_bits() -> None:
    """An output integer stands for ``v_scale * 2^-(16 - bits)``."""
    ((mult, shift),) = importance_scale([0.01], 10)
    assert mult / 2**shift == pytest.approx(0.01 / 64 * 4096, rel=2**-15)


@given(st.floats(2.0**-15, 1.0))
def test_refetch_limit_is_the_exact_floor(threshold: float) -> None:
    limit = refetch_limit(threshold)
    assert limit == min(NEVER_REFETCH, (Fraction(65535) / Fraction(threshold)).__floor__())
    # A row refetches exactly if its largest probability, 65535 / sum, is below the threshold.
    assert Fraction(65535, limit) >= Fraction(threshold) > Fraction(65535, limit + 1)


def test_refetch_limit_at_the_ends() -> None:
    assert refetch_limit(0.0) == NEVER_REFETCH == refetch_limit(1e-9)
    assert refetch_limit(1.0) == 65535
    assert refetch_limit(0.1) == 655349  # the double 0.1 is a little more than a tenth


@pytest.mark.parametrize("threshold", [-0.1, 1.1, math.nan])
def test_a_threshold_that_is_no_probability(threshold: float) -> None:
    with pytest.raises(OperandError) as error:
        refetch_limit(threshold)
    assert str(error.value) == f"refetch threshold is {threshold}; expected a probability from 0 (never) to 1"
