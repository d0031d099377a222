# SPDX-License-Identifier: BSD-2-Clause
"""Section 12 of docs/contract.md: every bound holds, and is as small as it can be said shortly.

Primitives first, exhaustively or at the ends of every interval; then what they add up to, on rows of the
oracle against enclosed exact softmax. `assert_tight` fails both ways: if a bound is broken and if it is far
too wide.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spatten_drivers.quantize import fixed_point, score_scale

from . import oracle_row, softmax_error
from .enclosure import ONE, power
from .oracle_row import MAX_EXPONENT, SEGMENTS, exponent, reciprocal, round_shift, weight
from .softmax_error import (
    ABSOLUTE,
    ACCUMULATOR,
    BAD_OF_N,
    CLIPPED,
    EDGE_OF_E,
    EDGE_OF_P,
    EXPONENT,
    FLAT_OF_E,
    FLOAT64,
    HOST_SLOPE,
    IMPORTANCE,
    MANTISSA,
    MULTIPLIER,
    OUTPUT_ROUNDING,
    REAL_WEIGHT,
    RECIPROCAL,
    RELATIVE,
    SCALED_WEIGHT,
    SEGMENT,
    SLOPE,
    WEIGHT,
    Bound,
    half_keys,
    mean,
    mean_error,
    normalisation_error,
    probabilities,
    probability_error,
    real_weights,
)
from .softmax_rows import DISTANCE_MAX, SoftmaxRow, edge_row, flat_row, random_row, row_of_sum

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
SUM_LEAST, SUM_MOST = 65535, 1024 * 65535
#: log2(e) to 40 digits, for the scale that a float64 host should have found.
LOG2_E = Fraction("1.442695040888963407359924681001892137427")
VALUE_FRACTIONS = (0, 2, 4, 6, 8, 10, 12)  # `fo` for values of 16 to 4 bits

rows = st.randoms(use_true_random=False).map(random_row)


def assert_tight(worst: Fraction, bound: Bound, share: float = 0.95) -> None:
    """The bound holds, and the worst case takes at least `share` of it."""
    assert share * bound <= worst <= bound


def weight_error(e: int, numerator: int, fraction_bits: int) -> Fraction:
    """The most that `e` is away from `65535 * 2^-(numerator / 2^fraction_bits)`."""
    low, high = power(numerator, fraction_bits)
    return Fraction(max(e * ONE - 65535 * low, 65535 * high - e * ONE), ONE)


# -- what errors are measured against ------------------------------------------------------------------------


@pytest.mark.parametrize("numerator", [0, 1, 63, 64, 127, 128, 129, 1000])
def test_powers_are_enclosed(numerator: int) -> None:
    """Raised to the 128th, both ends enclose an exact power; and they are near each other."""
    low, high = power(numerator, 7)
    assert low**128 <= (ONE**128 >> numerator) <= high**128
    assert 0 < high - low < 1 << 8


def test_float64() -> None:
    """The float64 softmax that anyone would write is within 2^-40 of the exact one.

    By hand: an exponent is exact (50 bits), times ln 2 it has two roundings, the power is good to one unit in
    the last place; so each of up to 1,024 terms is off by at most 2^-51 and their sum by 2^-41.
    """
    rng = random.Random(12)
    for _ in range(30):
        row = random_row(rng)
        exponents = (max(row.scores) - np.array(row.scores)) * float(row.mult) * 2.0 ** -(row.shift + 12)
        powers = np.exp(exponents * -np.log(2.0))
        exact = probabilities(real_weights(row.scores, row.mult, row.shift))
        found = map(Fraction, (powers / powers.sum()).tolist())
        assert max(p.distance(f) for p, f in zip(exact, found, strict=True)) <= FLOAT64


# -- primitives: the multiplier ------------------------------------------------------------------------------


def test_multiplier() -> None:
    """The worst scales lie midway between neighbouring 16-bit multipliers: all 32,768 of them."""
    wanted = np.arange(32768, 65536) + 0.5
    pairs = fixed_point((wanted / 65536).tolist(), shift_range=(1, 48), what="scale")
    found = [math.ldexp(mult, 16 - shift) for mult, shift in pairs]  # exact, as is `wanted`
    errors = [abs(f - w) / Fraction(w) for f, w in zip(found, wanted.tolist(), strict=True)]
    assert_tight(max(errors), MULTIPLIER)


scales = st.floats(2.0**-24, 0.5)


@given(scales, scales, st.sampled_from((32, 64, 96, 128)))
def test_score_scale(q_scale: float, k_scale: float, dim: int) -> None:
    """The host's float64 arithmetic adds less than 2^-50 of the scale; small ones are at most 2^-49 off."""
    scaling = dim**-0.5
    ((mult, shift),) = score_scale([q_scale], [k_scale], scaling)
    wanted = Fraction(q_scale) * Fraction(k_scale) * Fraction(scaling) * LOG2_E * 4096
    rounding = max(wanted * MULTIPLIER, Fraction(1, 1 << 49))
    assert abs(Fraction(mult, 1 << shift) - wanted) <= rounding + wanted / (1 << 50)


def test_scaled_weight() -> None:
    """A multiplier that is wrong by 2^-16 of the real scale moves an exponent of at most 17 by 17 * 2^-16.

    Below 2^-33 a multiplier keeps fewer bits; then it is wrong by half of 2^-48, and even the largest
    distance moves by less.
    """
    moved = Fraction(MAX_EXPONENT, (1 << 16) - 1)  # in steps; 17 is that of the wrong multiplier
    assert Fraction(DISTANCE_MAX, 1 << 49) < moved
    low, _ = power(-(-moved.numerator << 32) // moved.denominator, 44)
    assert_tight(Fraction(ONE, low) - 1, SCALED_WEIGHT)  # a real weight that is smaller
    assert_tight(1 - Fraction(low, ONE), SCALED_WEIGHT)  # one that is greater


# -- primitives: the exponent --------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", range(1, 49))
def test_exponent(shift: int) -> None:
    """Rounding is linear in the bits shifted out but for one jump at the half: both parts' ends suffice."""
    one = 1 << shift
    ends = (0, one // 2 - 1, one // 2, one - 1)
    errors = [
        abs(exponent(whole * one + end, 1, shift) - Fraction(whole * one + end, one))
        for whole in (0, 1, MAX_EXPONENT - 1)
        for end in ends
    ]
    assert max(errors) == EXPONENT


@given(st.integers(0, DISTANCE_MAX), st.integers(0, 65535), st.integers(1, 48))
def test_any_exponent(distance: int, mult: int, shift: int) -> None:
    """Within half a step, or clipped because the real exponent is at most half a step below 17."""
    real = Fraction(distance * mult, 1 << shift)
    x = exponent(distance, mult, shift)
    assert abs(x - real) <= EXPONENT or (x == MAX_EXPONENT and real > MAX_EXPONENT)


# -- primitives: the weight ----------------------------------------------------------------------------------


def test_segments() -> None:
    """Half a unit at most, and exactly half at the last entry."""
    errors = [weight_error(entry, i, 6) for i, entry in enumerate(SEGMENTS)]
    assert weight_error(SEGMENTS[64], 64, 6) == max(errors)
    assert abs(max(errors) - SEGMENT) < Fraction(1, 1 << 60)
    assert SEGMENTS[64] - Fraction(65535, 2) == SEGMENT


def test_mantissas() -> None:
    """Rounding of two entries and of the step between them, and a chord that lies above its arc."""
    assert_tight(max(weight_error(weight(x), x, 12) for x in range(4096)), MANTISSA)


def test_weights() -> None:
    """Shifting divides the mantissa's error and adds half a unit: no octave is worse than the first."""
    worst = [max(weight_error(weight(x), x, 12) for x in range(n << 12, (n + 1) << 12)) for n in range(17)]
    assert max(worst) == worst[0]
    assert_tight(worst[0], WEIGHT)


def test_clipping() -> None:
    """Only the last exponent has weight 0, and it ought to have hardly more than half a unit."""
    assert weight(MAX_EXPONENT) == 0
    assert min(weight(x) for x in range(MAX_EXPONENT)) == 1
    nearest = 65535 * Fraction(power(2 * MAX_EXPONENT - 1, 13).high, ONE)
    assert_tight(nearest, CLIPPED, share=0.999)


def real_weight_ends() -> Iterator[tuple[int, int, int]]:
    """(e, w, error) at both ends of the real exponents that are rounded to each `x`; `w` in units of 1 / ONE.

    Between the ends `e` stays and `w` falls, so the errors of the ends are the worst.
    """
    for x in range(MAX_EXPONENT + 1):
        e = weight(x)
        least = 65535 * power(2 * x + 1, 13).low if x < MAX_EXPONENT else 0
        most = 65535 * (power(2 * x - 1, 13).high if x else ONE)
        yield e, least, e * ONE - least
        yield e, most, most - e * ONE


def test_real_weights() -> None:
    """All 69,633 intervals: the absolute error, and the smallest slope beside half a unit."""
    ends = list(real_weight_ends())
    assert_tight(Fraction(max(error for _, _, error in ends), ONE), REAL_WEIGHT)
    beyond = [(error - int(ABSOLUTE * ONE), w) for _, w, error in ends if w]
    assert_tight(max(Fraction(rest, w) for rest, w in beyond if rest > 0), RELATIVE)
    assert all(error <= ABSOLUTE * ONE for _, w, error in ends if w == 0)


# -- primitives: sum, reciprocal, output ---------------------------------------------------------------------


def octaves() -> Iterator[tuple[int, int, int]]:
    """(z, least, greatest sum of that z)."""
    for z in range(10):
        yield z, max(SUM_LEAST, 1 << 16 + z if z else 0), min(SUM_MOST, (1 << 17 + z) - 1)


def all_sums() -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(z, sums): every sum there can be, in pieces that stay in the cache."""
    for z, least, greatest in octaves():
        for start in range(least, greatest + 1, 1 << 18):
            yield z, np.arange(start, min(start + (1 << 18), greatest + 1), dtype=np.int64)


def test_octaves_are_the_oracles() -> None:
    """`z` and `R` of the ends of each octave; the octaves touch."""
    ends = list(octaves())
    for z, least, greatest in ends:
        assert reciprocal(least) == (z, (1 << 33 + z) // least)
        assert reciprocal(greatest) == (z, (1 << 33 + z) // greatest)
    assert [least for _, least, _ in ends[1:]] == [greatest + 1 for _, _, greatest in ends[:-1]]
    assert (ends[0][1], ends[-1][2]) == (SUM_LEAST, SUM_MOST)


def test_every_sum() -> None:
    """All 67,042,306 sums, in 64-bit integers: how much `R` and a gain fall short."""
    count, least, most = 0, 1 << 33, 0
    short, gain_short = Fraction(0), 0
    for z, sums in all_sums():
        recip = (1 << 33 + z) // sums
        rest = (1 << 33 + z) - recip * sums
        factor_rest = (1 << 36) - ((8 * recip) >> z) * sums  # of 2^36 / S, times S
        assert rest.min() >= 0
        assert factor_rest.min() >= 0
        count += len(sums)
        least, most = min(least, int(recip.min())), max(most, int(recip.max()))
        short = max(short, Fraction(int(rest.max()), 1 << 33 + z))
        gain_short = max(gain_short, int((65535 * factor_rest // sums).max()) + 1)
    assert count == SUM_MOST - SUM_LEAST + 1 == 67_042_306
    assert (least, most) == (1 << 16, 131074)
    assert_tight(short, RECIPROCAL)
    assert_tight(Fraction(gain_short, 1 << 36), IMPORTANCE)


def test_accumulator() -> None:
    """Half of 2^z in `acc`, over the least sum of that `z`; nothing for z = 0."""
    worst = [Fraction(1 << z >> 1, least) for z, least, _ in octaves()]
    assert worst[0] == 0
    assert set(worst[1:]) == {ACCUMULATOR}
    for z, _, _ in list(octaves())[1:]:
        assert abs(round_shift(1 << z - 1, z) - Fraction(1, 2)) == Fraction(1, 2)


@pytest.mark.parametrize("fraction_bits", VALUE_FRACTIONS)
def test_output_rounding(fraction_bits: int) -> None:
    """As for the exponent, the ends of the two linear parts are the worst."""
    shift = 33 - fraction_bits
    ends = (0, (1 << shift - 1) - 1, 1 << shift - 1, (1 << shift) - 1)
    assert max(abs(round_shift(a, shift) - Fraction(a, 1 << shift)) for a in ends) == OUTPUT_ROUNDING


@pytest.mark.parametrize("fraction_bits", VALUE_FRACTIONS)
def test_saturation(fraction_bits: int) -> None:
    """`R * S <= 2^(33 + z)` (test_every_sum), so a mean stays in its range but for the half in `acc`."""
    stray = Fraction(131074 << fraction_bits, 2 << 33)
    value_most = (1 << 15 - fraction_bits) - 1
    assert -32768 - stray >= -32768 - Fraction(1, 2)
    assert (value_most << fraction_bits) + stray < 32767 + Fraction(1, 2)


# -- composed ------------------------------------------------------------------------------------------------


def test_slopes() -> None:
    """`A` of section 12 from the weight's slope, alone and with the host's multiplier.

    The slope `a` gives `a / 2` of the real weights' sum, which is at most `1 / (1 - a)` of the sum of `e`.
    """
    host = RELATIVE * (1 + SCALED_WEIGHT) + SCALED_WEIGHT
    assert_tight(RELATIVE / 2 / (1 - RELATIVE), SLOPE)
    assert_tight(host / 2 / (1 - host), HOST_SLOPE)
    # A real exponent beyond the clipped ones by the multiplier alone still fits beside half a unit.
    beyond = CLIPPED * (1 + SCALED_WEIGHT)
    assert beyond <= ABSOLUTE + host * beyond


@given(row=rows)
def test_any_probability(row: SoftmaxRow) -> None:
    """Each `e / S` and each gain of a row, against softmax of the same integer scores."""
    found, exact = row.run(), probabilities(real_weights(row.scores, row.mult, row.shift))
    keys, total = len(row.scores), found.passes[-1].total
    for e, gain, p in zip(found.passes[-1].weights, found.gains, exact, strict=True):
        bound = probability_error(p.low, keys, total)
        slack = p.high - p.low  # `P` is less steep than 1, so this covers not knowing `p`
        assert p.distance(Fraction(e, total)) + slack <= bound <= mean_error(keys, total) + slack
        assert 0 <= Fraction(e, total) - Fraction(gain, 1 << 36) <= IMPORTANCE


@given(row=rows)
def test_any_output(row: SoftmaxRow) -> None:
    """An output against the mean weighted by exact softmax; values that were dropped count as 0 there."""
    found = row.run()
    kept = set(found.kept)
    used = [v if j in kept else 0 for j, v in enumerate(row.values)]
    exact = mean(real_weights(row.scores, row.mult, row.shift), used)
    keys, total, steps = len(used), found.passes[-1].total, 1 << row.fraction_bits
    before = (max(used) - min(used)) * mean_error(keys, total)
    assert exact.distance(Fraction(found.acc[0], total)) <= before
    after = normalisation_error(row.fraction_bits)
    assert abs(found.output[0] - Fraction(steps * found.acc[0], total)) <= after
    assert steps * exact.distance(Fraction(found.output[0], steps)) <= steps * before + after
    product = round_shift(found.acc[0], found.z) * found.reciprocal
    assert found.output == [round_shift(product, 33 - row.fraction_bits)]  # nothing is saturated


@given(row=rows, nudge=st.integers(-128, 128))
def test_any_probability_of_a_real_scale(row: SoftmaxRow, nudge: int) -> None:
    """The same if the head's real scale is one that the host rounds to this multiplier."""
    mult = max(row.mult, 32769)
    real = (mult << 8) + nudge  # at most half a multiplier away, in units of 2^-8
    found = oracle_row.softmax(row.scores, softmax_error.plain_rules(mult, row.shift), max(row.scores))
    exact = probabilities(real_weights(row.scores, real, row.shift + 8))
    for e, p in zip(found.weights, exact, strict=True):
        bound = probability_error(p.low, len(exact), found.total, HOST_SLOPE)
        assert p.distance(Fraction(e, found.total)) + p.high - p.low <= bound


# -- the bounds are nearly reached ---------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [16, 128, 1024])
def test_a_row_at_the_edge(keys: int) -> None:
    """One key takes all: its probability is wrong by almost `P` and by almost `E`."""
    row = edge_row(keys)
    found, exact = row.run().passes[-1], probabilities(real_weights(row.scores, row.mult, row.shift))
    error = exact[0].distance(Fraction(found.weights[0], found.total))
    assert found.total == 65535
    assert_tight(error, probability_error(exact[0].low, keys, found.total), EDGE_OF_P)
    assert error <= mean_error(keys, found.total)
    assert keys < 1024 or error >= EDGE_OF_E * mean_error(keys, found.total)


def test_a_flat_row() -> None:
    """1,024 nearly equal keys that err in opposite directions: their mean is wrong by most of `E`."""
    row = flat_row(1024)
    found, exact = row.run(), mean(real_weights(row.scores, row.mult, row.shift), row.values)
    total = found.passes[-1].total
    error = exact.distance(Fraction(found.acc[0], total)) / 65535
    assert_tight(error, mean_error(1024, total), FLAT_OF_E)


def test_a_row_normalised_badly() -> None:
    """A mean just above -32768 and a reciprocal as short as can be: almost one step of `o`."""
    total = 33_546_242  # of its octave the sum whose reciprocal is shortest
    found = row_of_sum(total, lambda keys: [-32767] + [-32768] * (keys - 1)).run()
    assert found.passes[-1].total == total
    assert_tight(abs(found.output[0] - Fraction(found.acc[0], total)), normalisation_error(0), BAD_OF_N)


# -- the page ------------------------------------------------------------------------------------------------


def evaluate(formula: str, names: dict[str, Fraction]) -> Fraction:
    """The value of a formula of the page, in fractions: `^` is a power and every 2 below it one of them."""
    return Fraction(eval(formula.replace("2^", "two**"), {"__builtins__": {}}, names))


def test_the_tables_of_the_page() -> None:
    """If this fails: python -m tests.model.softmax_error prints them anew."""
    assert softmax_error.primitive_table() in PAGE
    assert softmax_error.example_table() in PAGE
    for share in softmax_error.reached():
        assert share in PAGE


def test_every_primitive_has_its_test() -> None:
    """The last column names tests of this file or of test_extremes.py."""
    source = "".join(
        Path(__file__).with_name(name).read_text() for name in ("test_extremes.py", Path(__file__).name)
    )
    for *_, name in softmax_error.PRIMITIVES:
        assert f"\ndef test_{name}(" in source


def test_the_formulas_of_the_page() -> None:
    """Each formula as the page has it, with the numbers that the tests above use."""
    assert f"`A = {float(SLOPE):.1e}`".replace("e-0", "e-") in PAGE
    assert f"`A = {float(HOST_SLOPE):.2e}`".replace("e-0", "e-") in PAGE
    assert f"`a = {float(RELATIVE):.2e}`".replace("e-0", "e-") in PAGE
    formulas = dict(re.findall(r"^([hEPN]) = (.*?)  +\S", PAGE, re.MULTILINE))
    n, total, p, fo = 1000, 123_456, Fraction(1, 7), 12
    given = {"n": n, "S": total, "p": p, "A": SLOPE, "fo": fo, "two": 2}
    names = {name: Fraction(number) for name, number in given.items()}
    names["h"] = evaluate(formulas["h"], names)
    assert names["h"] == half_keys(n, total)
    assert evaluate(formulas["E"], names) == mean_error(n, total)
    assert evaluate(formulas["P"], names) == probability_error(p, n, total)
    assert evaluate(formulas["N"], names) == normalisation_error(fo)
