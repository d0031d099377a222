# SPDX-License-Identifier: BSD-2-Clause
"""No sum overflows: the largest magnitude of every number of a job, by arithmetic (contract, section 12).

`python -m tests.model.widths` prints the table of the page; test_extremes.py compares the two and drives the
oracle and the model to these very numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

KEYS, QUERIES, HEADS, LAYERS, DIM = 1024, 1024, 16, 48, 128
Q_MOST, K_MOST, V_MOST = 1 << 11, 1 << 15, 1 << 15  # magnitudes of the most negative integers
WEIGHT, MULT = 65535, 65535

#: Of a key that refetched by key, whose LSB plane counts from -8 up.
SCORE, SCORE_LEAST = DIM * Q_MOST * (K_MOST + 8), -DIM * Q_MOST * (K_MOST - 1)
DISTANCE = DIM * Q_MOST * (2 * K_MOST - 1)
SUM = KEYS * WEIGHT
MANTISSA = V_MOST * ((1 << 25) - 1) >> 8
RECIPROCAL = (1 << 33) // WEIGHT
PRODUCT = V_MOST << 33
FACTOR = 8 * RECIPROCAL
GAIN = WEIGHT * FACTOR
TOKEN_JOB = HEADS * QUERIES * GAIN
TOKEN_LAYER = (TOKEN_JOB + (1 << 23)) >> 24
TOKEN_MAX, HEAD_MAX = (1 << 32) - 1, (1 << 48) - 1
MAGNITUDE = QUERIES * DIM * (1 << 15)


@dataclass(frozen=True)
class Width:
    """A number of a job: how its largest magnitude comes about, and the ends of its range."""

    name: str
    arithmetic: str
    most: int
    least: int = 0

    @property
    def magnitude(self) -> int:
        """The larger end."""
        return max(self.most, -self.least)

    @property
    def bits(self) -> int:
        """Two's complement bits that hold both ends; without a sign bit if nothing is negative."""
        if not self.least:
            return self.most.bit_length()
        return 1 + max(self.most.bit_length(), (-self.least - 1).bit_length())


WIDTHS = {
    "s": Width("score `s`", "128 * 2^11 * (2^15 + 8)", SCORE, SCORE_LEAST),
    "d": Width("distance `d`", "2^33 + 128 * 2^11 * (2^15 - 1)", DISTANCE),
    "scaled": Width("`d * score_mult` and half of 2^48", "`d` * 65535 + 2^47", DISTANCE * MULT + (1 << 47)),
    "S": Width("sum `S`", "1024 * 65535", SUM),
    "acc": Width("`acc`", "-2^15 * `S`", SUM * (V_MOST - 1), -SUM * V_MOST),
    "mantissa": Width("`round_shift(acc, z)`", "-2^15 * (2^25 - 1) / 2^8", MANTISSA, -MANTISSA),
    "R": Width("reciprocal `R`", "floor(2^33 / 65535)", RECIPROCAL),
    "product": Width(
        "`round_shift(acc, z) * R`",
        "-2^15 * 2^33, as `S * R <= 2^(33 + z)`",
        PRODUCT - (1 << 33) + (1 << 32) + RECIPROCAL,  # of 32767, with both roundings
        -PRODUCT,
    ),
    "o": Width("output `o`", "-2^15", (1 << 15) - 1, -(1 << 15)),
    "w": Width("factor `w`", "8 * `R`", FACTOR),
    "gain": Width("gain `e * w`", "65535 * `w`", GAIN),
    "t": Width("`t_j`", "16 * 1024 gains", TOKEN_JOB),
    "decayed": Width("`old * decay`", "(2^32 - 1) * 2^16", TOKEN_MAX << 16),
    "token": Width("token importance before it saturates", "2^32 - 1 + 2^26", TOKEN_MAX + TOKEN_LAYER),
    "tokens": Width("token importance of 48 layers", "48 * `round_shift(t_j, 24)`", LAYERS * TOKEN_LAYER),
    "A": Width("`A_h`", "1024 * 128 * 2^15", MAGNITUDE),
    "weighed": Width(
        "`A_h * importance_mult` and half of 2^47", "`A_h` * 65535 + 2^46", MAGNITUDE * MULT + (1 << 46)
    ),
    "head": Width(
        "head importance before it saturates", "2^48 - 1 + `A_h` * 65535", HEAD_MAX + MAGNITUDE * MULT
    ),
}

#: The loudest value, in the host's own numbers, at which head importance cannot reach 2^48 in 48 layers.
LOUDEST = HEAD_MAX // (LAYERS * QUERIES * DIM << 12)


def width_table() -> str:
    """The table of the page."""
    rows = [f"| {w.name} | {w.arithmetic} | {w.magnitude:,} | {w.bits} |" for w in WIDTHS.values()]
    return "\n".join(["| number | largest magnitude | that is | bits |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    sys.stdout.write(f"{width_table()}\n\nloudest value: {LOUDEST:,}\n")
