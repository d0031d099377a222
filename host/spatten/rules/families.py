# SPDX-License-Identifier: BSD-2-Clause
"""The rules that are compared, in families: one idea at several thresholds each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from .keys import ByKey, ByKeyShift, ByRow, EarlyStop
from .planes import Layout
from .rule import Rule
from .values import Above, Top

#: Powers of two of a row, where it has one: its scale is halved 0 to 3 times.
EXPONENT_BITS = 2


@dataclass(frozen=True)
class Family:
    """One idea.

    Attributes
    ----------
    name, meaning : as the page says them.
    known : a device of contract 1.1 can do it.
    points : its rules by the settings that tell them apart.
    """

    name: str
    meaning: str
    points: dict[str, Rule]
    known: bool = False


def _width(bits: int, exponent_bits: int = 0) -> Layout:
    return Layout((bits,), exponent_bits)


TWO, SIX, THREE = Layout((4, 4)), Layout((6, 4)), Layout((4, 4, 4))
#: Of the sum of all weights, that is probabilities, and of the largest weight.
PROBABILITIES, SHARES = (0.0003, 0.001, 0.002), (0.003, 0.01, 0.03)
LIKELY = (0.0002, 0.0004, 0.0007)
#: The family that is measured again on windows of another seed.
AS_BUILT = "by key, as contract 1.1 has it"

FAMILIES = (
    Family(
        "one plane",
        "every row whole, one width, a static scale a head",
        {str(_width(bits)): Rule(_width(bits)) for bits in (12, 8, 6, 4)},
        known=True,
    ),
    Family(
        "paper",
        "two planes, all keys of a row refetch where no probability reaches t; the greatest weights of a row "
        "alone read their values",
        {
            **{f"{at}, t {t:g}": Rule(at, ByRow(t)) for at, t in product((SIX, TWO), (0.02, 0.05, 0.2))},
            **{f"{at}, values {s:.0%}": Rule(at, values=Top(s)) for at in (_width(6),) for s in (0.75, 0.5)},
            f"{TWO}, t 0.05, values 50%": Rule(TWO, ByRow(0.05), Top(0.5)),
        },
        known=True,
    ),
    Family(
        "refetch by key",
        "two planes, the keys alone refetch whose own probability reaches t, and their values",
        {f"{at}, t {t:g}": Rule(at, ByKey(t)) for at, t in product((SIX, TWO), (0.001, 0.003, 0.01, 0.03))},
    ),
    Family(
        "refetch by key, of the largest",
        "the same, t a share of the row's largest weight: no sum is waited for",
        {f"{at}, t {t:g}": Rule(at, ByKey(t, "largest")) for at, t in product((TWO,), (*SHARES, 0.1, 0.3))},
    ),
    Family(
        "early stop, 3 planes",
        "Token-Picker: a key is given up when the upper bound of its probability is below t",
        {f"{THREE}, t {t:g}": Rule(THREE, EarlyStop(t)) for t in PROBABILITIES},
    ),
    Family(
        "early stop, 2 planes",
        "the same with planes that a device has",
        {f"{TWO}, t {t:g}": Rule(TWO, EarlyStop(t)) for t in PROBABILITIES},
    ),
    Family(
        "early stop, of the largest",
        "the same, t a share of the row's largest weight: distances of scores alone, no exponential",
        {f"{TWO}, t {t:g}": Rule(TWO, EarlyStop(t, "largest")) for t in SHARES},
    ),
    Family(
        "values above a share",
        "one plane; values are read whose weight reaches t of the row's largest, instead of a fixed number",
        {
            f"{_width(bits)}, t {t:g}": Rule(_width(bits), values=Above(t, "largest"))
            for bits, t in product((6, 4), SHARES)
        },
        known=True,
    ),
    Family(
        "values above a probability",
        "the same, t a share of the sum of all weights",
        {
            f"{_width(bits)}, t {t:g}": Rule(_width(bits), values=Above(t))
            for bits, t in product((6, 4), LIKELY)
        },
    ),
    Family(
        "mean of the rest",
        "merging instead of dropping: the weight of values not read goes to the mean of the head's values",
        {
            **{f"6 bit, values {s:.0%}": Rule(_width(6), values=Top(s), rest="mean") for s in (0.5, 0.25)},
            **{
                f"6 bit, t {t:g}": Rule(_width(6), values=Above(t, "largest"), rest="mean")
                for t in (0.01, 0.03, 0.1)
            },
        },
    ),
    Family(
        "shared rest",
        "the weight of values not read is shared among those that are",
        {
            f"6 bit, t {t:g}": Rule(_width(6), values=Above(t, "largest"), rest="shared")
            for t in (0.01, 0.03, 0.1)
        },
    ),
    Family(
        "exponent by row",
        "one plane, each row with a power of two of its own, 2 bits",
        {str(_width(bits, EXPONENT_BITS)): Rule(_width(bits, EXPONENT_BITS)) for bits in (8, 6, 4)},
    ),
    Family(
        "by key, values above a share",
        "refetch by key and values above a share together",
        {
            f"{TWO}, t {k:g}, values {t:g}": Rule(TWO, ByKey(k), Above(t, "largest"))
            for k, t in product((0.003, 0.01, 0.03), SHARES)
        },
    ),
    Family(
        "by key, values above a probability",
        "refetch by key and values above a probability together: one sum serves both",
        {
            f"{TWO}, t {k:g}, values {t:g}": Rule(TWO, ByKey(k), Above(t))
            for k, t in product((0.003, 0.01, 0.03), LIKELY)
        },
    ),
    Family(
        "by key, values above a share, mean",
        "by key, values above a share, and the mean of the rest",
        {
            f"{TWO}, t {k:g}, values {t:g}": Rule(TWO, ByKey(k), Above(t, "largest"), "mean")
            for k, t in product((0.003, 0.01, 0.03), (0.01, 0.03, 0.1))
        },
    ),
    Family(
        "by key, values above a share, exponents",
        "by key, values above a share, with exponents of rows",
        {
            f"{at}, t {k:g}, values {t:g}": Rule(at, ByKey(k), Above(t, "largest"))
            for at, k, t in product((Layout((4, 4), EXPONENT_BITS),), (0.01, 0.03), (0.003, 0.01))
        },
    ),
    Family(
        AS_BUILT,
        "by key, values above a share, as contract 1.1 has it: a power of two of the sum, the second pass on "
        "the scale of the refetched keys, every value in one plane",
        {
            f"{TWO}, V {bits}, 1/{1 << shift}, values {t:g}": Rule(
                TWO, ByKeyShift(shift), Above(t, "largest"), v_layout=_width(bits)
            )
            for bits, shift, t in product((4, 6, 8), (5, 6, 7), SHARES)
        },
        known=True,
    ),
)
