# SPDX-License-Identifier: BSD-2-Clause
"""One row of attention: one live head, one query (contract, sections 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul

FRACTION_BITS = 12
MAX_EXPONENT = 17 << FRACTION_BITS
SEGMENTS = [round(65535 * 2 ** (-i / 64)) for i in range(65)]

MSB_ONLY, ALWAYS, BY_ROW, BY_KEY = 0, 1, 2, 3


def round_shift(a: int, n: int) -> int:
    """`a / 2^n`, half rounded up."""
    return (a + ((1 << n) >> 1)) >> n


def dot(a: list[int], b: list[int]) -> int:
    """The exact inner product."""
    return sum(map(mul, a, b))


def exponent(distance: int, mult: int, shift: int) -> int:
    """A score distance as a binary exponent with 12 fraction bits, at most 17.0."""
    return min(round_shift(distance * mult, shift), MAX_EXPONENT)


def weight(x: int) -> int:
    """`2^-x` in 16 bits, by linear segments between 65 points."""
    n, f = x >> FRACTION_BITS, x & 4095
    i, g = f >> 6, f & 63
    straight = SEGMENTS[i] - round_shift((SEGMENTS[i] - SEGMENTS[i + 1]) * g, 6)
    return round_shift(straight, n)


def saturate16(a: int) -> int:
    """Clamp to a signed 16-bit integer."""
    return max(-32768, min(32767, a))


def greatest(values: list[int], count: int) -> list[int]:
    """The indices, ascending, of the `count` greatest values; of equal ones the lower index."""
    order = sorted(range(len(values)), key=lambda index: (-values[index], index))
    return sorted(order[:count])


@dataclass(frozen=True)
class PlaneRow:
    """One K or V row: its two planes; `lsb` is None where there is no LSB plane."""

    msb: list[int]
    lsb: list[int] | None

    def integers(self, use_lsb: bool, midpoint: int) -> list[int]:
        """The integers the row stands for; `midpoint` replaces an LSB plane that exists and is not used."""
        if self.lsb is None:
            return self.msb
        low = self.lsb if use_lsb else [midpoint] * len(self.msb)
        return [(high << 4) + rest for high, rest in zip(self.msb, low, strict=True)]


@dataclass(frozen=True)
class RowRules:
    """What the job and the head fix for a row."""

    score_mult: int
    score_shift: int
    k_policy: int
    v_policy: int
    refetch_limit: int
    keep_values: int
    fraction_bits: int
    value_limit: int = 0
    refetch_shift: int = 0


@dataclass(frozen=True)
class Softmax:
    """Steps 1 to 5 of section 4 for the visible keys."""

    scores: list[int]
    distances: list[int]
    exponents: list[int]
    weights: list[int]
    total: int


@dataclass(frozen=True)
class Row:
    """All numbers of a finished row, over the visible keys in slot order."""

    passes: list[Softmax]
    redone: list[int]  # keys of which the second pass took the LSB plane
    kept: list[int]
    acc: list[int]
    z: int
    reciprocal: int
    output: list[int]
    importance_factor: int

    @property
    def refetched(self) -> bool:
        """Whether there was a second pass."""
        return len(self.passes) > 1

    @property
    def gains(self) -> list[int]:
        """What each visible key's importance gains, in units of 2^-36."""
        return [e * self.importance_factor for e in self.passes[-1].weights]


def softmax(scores: list[int], rules: RowRules, maximum: int) -> Softmax:
    """Steps 2 to 5: distances, exponents, weights, sum. No key is nearer than `maximum`."""
    distances = [max(0, maximum - s) for s in scores]
    exponents = [exponent(d, rules.score_mult, rules.score_shift) for d in distances]
    weights = [weight(x) for x in exponents]
    return Softmax(list(scores), distances, exponents, weights, sum(weights))


def attend(query: list[int], keys: list[PlaneRow], rules: RowRules) -> tuple[list[Softmax], list[int]]:
    """Section 4: one pass, or two; and the keys of which the second took the LSB plane."""
    use_lsb = rules.k_policy == ALWAYS
    scores = [dot(query, key.integers(use_lsb, midpoint=0)) for key in keys]
    first = softmax(scores, rules, max(scores))
    if rules.k_policy == BY_ROW and first.total > rules.refetch_limit:
        whole = [dot(query, key.integers(True, midpoint=0)) for key in keys]
        return [first, softmax(whole, rules, max(whole))], [*range(len(keys))]
    likely = likely_keys(first, rules) if rules.k_policy == BY_KEY else []
    if not likely:
        return [first], []
    for j in likely:  # an LSB plane that is not read stands for its middle
        scores[j] = dot(query, [k - 8 for k in keys[j].integers(True, midpoint=0)])
    return [first, softmax(scores, rules, max(scores[j] for j in likely))], likely


def likely_keys(first: Softmax, rules: RowRules) -> list[int]:
    """Of a refetch by key: those above a share of the sum."""
    share = first.total >> rules.refetch_shift
    return [j for j, e in enumerate(first.weights) if e > share]


def reciprocal(total: int) -> tuple[int, int]:
    """(z, R): `R / 2^(33 + z)` is about `1 / total`, R between 2^16 and 131074."""
    z = max(0, total.bit_length() - 17)
    return z, (1 << 33 + z) // total


def run_row(query: list[int], keys: list[PlaneRow], values: list[PlaneRow], rules: RowRules) -> Row:
    """Sections 4 and 5 and step 1 of section 6 for one row; `keys` and `values` are the visible ones."""
    passes, redone = attend(query, keys, rules)
    weights = passes[-1].weights
    loud = sum(1 for e in weights if e >= rules.value_limit)
    kept = greatest(weights, min(rules.keep_values, loud))
    v_lsb = rules.v_policy == ALWAYS or (rules.v_policy == BY_ROW and len(redone) > 0)
    kept_values = [values[j].integers(v_lsb, midpoint=8) for j in kept]
    kept_weights = [weights[j] for j in kept]
    acc = [dot(kept_weights, list(column)) for column in zip(*kept_values, strict=True)]
    z, recip = reciprocal(passes[-1].total)
    shift = 33 - rules.fraction_bits
    output = [saturate16(round_shift(round_shift(a, z) * recip, shift)) for a in acc]
    return Row(passes, redone, kept, acc, z, recip, output, (8 * recip) >> z)
