# SPDX-License-Identifier: BSD-2-Clause
"""Section 12 of docs/contract.md: the bounds on softmax errors, the exact softmax, and the page's tables.

`python -m tests.model.softmax_error` prints the tables; test_softmax_error.py proves every number in them and
compares them with the page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from .enclosure import ONE, Enclosure, power
from .oracle_row import FRACTION_BITS, RowRules

Bound = Fraction

# -- primitives; weights in units of 1/65535, exponents in steps of 2^-12, outputs in steps of o -------------

SEGMENT = Bound("0.5")
MANTISSA = Bound("1.83")
WEIGHT = Bound("1.83")
EXPONENT = Bound("0.5")
CLIPPED = Bound("0.50005")
REAL_WEIGHT = Bound("7.11")
RELATIVE, ABSOLUTE = Bound("1.23e-4"), Bound("0.5")  # |e - w| <= RELATIVE * w + ABSOLUTE
MULTIPLIER = Bound(1, 1 << 16)
SCALED_WEIGHT = Bound("1.8e-4")
RECIPROCAL = Bound(1, 1 << 16)
ACCUMULATOR = Bound(1, 1 << 17)
OUTPUT_ROUNDING = Bound("0.5")
IMPORTANCE = Bound(1, 1 << 17)
FLOAT64 = Bound(1, 1 << 40)

# -- composed ------------------------------------------------------------------------------------------------

SLOPE, HOST_SLOPE = Bound("6.2e-5"), Bound("1.52e-4")  # A, for the job's multiplier and for the host's scale


def half_keys(keys: int, total: int) -> Bound:
    """`h`: every key but the best may hold half a unit too much or too little."""
    return Bound(keys - 1, 2 * total)


def mean_error(keys: int, total: int, slope: Bound = SLOPE) -> Bound:
    """`E`: the most by which a weighted mean of values from 0 to 1 is off; any probability too."""
    h = half_keys(keys, total)
    return slope * (1 + h) + h


def probability_error(p: Bound, keys: int, total: int, slope: Bound = SLOPE) -> Bound:
    """`P`: the same for one key of true probability `p`; never above `E`."""
    return 4 * slope * p * (1 - p) * (1 + half_keys(keys, total)) + (1 + (keys - 2) * p) / (2 * total)


def normalisation_error(fraction_bits: int) -> Bound:
    """`N`: what reciprocal and roundings add to an output, in steps of `o`; `fraction_bits` is `fo`."""
    return (1 << 15) * RECIPROCAL + (1 << fraction_bits) * ACCUMULATOR + OUTPUT_ROUNDING


#: Shares of the bounds that the worst rows of softmax_rows.py reach.
EDGE_OF_P, EDGE_OF_E, FLAT_OF_E, BAD_OF_N = 0.99, 0.98, 0.7, 0.95


# -- the exact softmax ---------------------------------------------------------------------------------------


def real_weights(scores: Sequence[int], mult: int, shift: int) -> list[Enclosure]:
    """`2^-X` of each key for the exact exponent `X`; the best key has exactly 1."""
    best = max(scores)
    return [
        power((best - s) * mult, shift + FRACTION_BITS) if s < best else Enclosure(ONE, ONE) for s in scores
    ]


class Interval(NamedTuple):
    """A real number between two fractions."""

    low: Fraction
    high: Fraction

    def distance(self, found: Fraction) -> Fraction:
        """The most that `found` can be away from the number."""
        return max(found - self.low, self.high - found)


def probabilities(weights: Sequence[Enclosure]) -> list[Interval]:
    """Softmax itself."""
    low, high = (sum(ends) for ends in zip(*weights, strict=True))
    return [Interval(Fraction(w.low, high), Fraction(w.high, low)) for w in weights]


def mean(weights: Sequence[Enclosure], values: Sequence[int]) -> Interval:
    """The mean of `values`, weighted by softmax; taken from the least value up, so equal ones are exact."""
    low, high = (sum(ends) for ends in zip(*weights, strict=True))
    base = min(values)
    least = sum(w.low * (v - base) for w, v in zip(weights, values, strict=True))
    most = sum(w.high * (v - base) for w, v in zip(weights, values, strict=True))
    return Interval(base + Fraction(least, high), base + Fraction(most, low))


def plain_rules(mult: int, shift: int, fraction_bits: int = 0, keep_values: int = 65535) -> RowRules:
    """Rules of a row of one plane: nothing is decided on the way."""
    return RowRules(mult, shift, 0, 0, 0, keep_values, fraction_bits)


# -- the page ------------------------------------------------------------------------------------------------


def _number(bound: Bound) -> str:
    """A small power of two by its exponent, anything else as a decimal."""
    exponent = bound.denominator.bit_length() - 1
    if bound == Bound(1, 1 << exponent) and exponent > 1:
        return f"2^-{exponent}"
    return f"{float(bound):.6g}" if bound > Bound("1e-3") else f"{float(bound):.2e}".replace("e-0", "e-")


PRIMITIVES = [
    ("multiplier (host)", "scales from 2^-33 up", f"{_number(MULTIPLIER)} of the scale", "multiplier"),
    ("the same, as a weight", "`x <= 69632`", f"{_number(SCALED_WEIGHT)} of the weight", "scaled_weight"),
    (
        "exponent `x`",
        "every `d`, `score_mult`, `score_shift`",
        f"{_number(EXPONENT)} step of 2^-12",
        "exponent",
    ),
    ("table `T[i]`", "all 65 entries", f"{_number(SEGMENT)} unit", "segments"),
    ("mantissa `e1`", "all 4,096 fractions", f"{_number(MANTISSA)} units", "mantissas"),
    ("weight `e` of the integer `x`", "all 69,633", f"{_number(WEIGHT)} units", "weights"),
    ("clipping to weight 0", "exactly `x = 69632`", f"{_number(CLIPPED)} unit", "clipping"),
    (
        "weight `e` of the real exponent",
        "all 69,633 intervals",
        f"{_number(REAL_WEIGHT)} units, and `{_number(RELATIVE)} w + {_number(ABSOLUTE)}`",
        "real_weights",
    ),
    ("`S`, `acc`", "1,024 keys", "exact", "no_sum_overflows"),
    (
        "`round_shift(acc, z)`",
        "every `z`",
        f"{_number(ACCUMULATOR)} of a V integer",
        "accumulator",
    ),
    ("reciprocal `R`", "all 67,042,306 sums", f"0 to {_number(RECIPROCAL)} too small", "every_sum"),
    ("rounding of `o`", "every product", f"{_number(OUTPUT_ROUNDING)} step of `o`", "output_rounding"),
    ("`saturate16`", "every row", "never changes a number", "saturation"),
    (
        "gain `e * w / 2^36`",
        "all 67,042,306 sums",
        f"0 to {_number(IMPORTANCE)} below `e / S`",
        "every_sum",
    ),
    ("float64 softmax itself", "1,024 keys", _number(FLOAT64), "float64"),
]

EXAMPLES = [
    ("one key holds almost all, 1,023 stand at the edge of weight 0", 1024, 65535),
    ("the same with 128 keys", 128, 65535),
    ("largest probability 0.1", 1024, 655350),
    ("1,024 equal keys", 1024, 1024 * 65535),
]


def _percent(bound: Bound) -> str:
    return f"{100 * float(bound):.4f} %"


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines).replace("| --- ", "|---")


def primitive_table() -> str:
    """Every primitive with its worst error and the test that proves it."""
    rows = [(name, where, error, f"`test_{test}`") for name, where, error, test in PRIMITIVES]
    return _table(("primitive", "range", "worst error", "proven by"), rows)


def example_table() -> str:
    """`E` in numbers."""
    rows = [
        (what, keys, total, _percent(mean_error(keys, total)), _percent(mean_error(keys, total, HOST_SLOPE)))
        for what, keys, total in EXAMPLES
    ]
    return _table(("row", "`n`", "`S`", "`E`", "`E` with the host's scale"), rows)


def reached() -> list[str]:
    """What the page says of the worst rows."""
    return [
        f"{EDGE_OF_P:.0%} of `P` and {EDGE_OF_E:.0%} of `E`",
        f"{FLAT_OF_E:.0%} of `E`",
        f"{BAD_OF_N:.0%} of `N`",
    ]


if __name__ == "__main__":
    sys.stdout.write(f"{primitive_table()}\n\n{example_table()}\n\n{reached()}\n")
