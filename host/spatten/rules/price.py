# SPDX-License-Identifier: BSD-2-Clause
"""What each rule takes in contract and gateware: worked out from a core of 1.0 unless said otherwise."""

from __future__ import annotations

from typing import NamedTuple


class Price(NamedTuple):
    """Of one rule beyond contract 1.0.

    Attributes
    ----------
    rule : one or more families, as the page calls them.
    contract : fields and their bits.
    storage : bits in memory and on chip.
    cycles : of a decode row, beside the bytes.
    logic : LUTs and multipliers.
    """

    rule: str
    contract: str
    storage: str
    cycles: str
    logic: str


HEADER = ("rule", "contract", "storage", "cycles of a row", "logic")

PRICES = (
    Price(
        "refetch by key",
        "`k_policy` and `v_policy` 3, which their two bits hold; `refetch_limit` is t in units of 2^-16; an "
        "answer word `refetched_keys`",
        "none in memory; on chip a mark beside each weight and each place of a kept value of 4 rows in "
        "flight, 8,192 bits (1 EBR)",
        "2 beats (D = 64) for each key that refetches, 3 to 9 % of them at t 0.01 to 0.003, then weights "
        "once more, a cycle a key, beside the next row's keys",
        "S x t once a row (2 multipliers or 26 cycles), a 16-bit compare a key, places made compact as kept "
        "ones are, scores written one by one: about 1,300 LUT. The LSB plane is read as `lsb - 8`, its top "
        "bit inverted, so that the midpoint of keys that do not refetch cancels. Synthesised, as contract "
        "1.1 has it, V in one plane and t a power of two: 962 LUT and 2 EBR in the core of `ecp5-85f-slim`",
    ),
    Price(
        "refetch by key, of the largest",
        "the same",
        "the same",
        "the same",
        "a constant for S x t: 100 LUT less",
    ),
    Price(
        "values above a share",
        "`value_limit`, 16 bits of a reserved word; 0 is contract 1.0",
        "none",
        "none; without `keep_values` a row need not wait for top-k, 45 cycles",
        "16 compares of 16 bit before top-k, and their count: about 250 LUT",
    ),
    Price(
        "values above a probability",
        "the same, in units of 2^-16 of S",
        "none",
        "the same",
        "S x t as well, shared with refetch by key: about 300 LUT",
    ),
    Price(
        "mean of the rest",
        "address and stride of one row of 16 bit a head, 64 bits",
        "16 x D bits a head in memory, written by the host at every step",
        "one more row of V, 8 beats (D = 64), in two passes: its weight has 26 bits, the multipliers take 16",
        "S less the kept weights, the second pass: about 400 LUT",
    ),
    Price(
        "shared rest",
        "one bit",
        "none",
        "none",
        "the sum of kept weights beside S: about 100 LUT",
    ),
    Price(
        "early stop, 2 planes",
        "all of refetch by key, t in units of 2^-24",
        "lower bounds of keys given up stay in their score words: none",
        "as refetch by key, but half of the keys refetch at t 0.0003",
        "all of refetch by key, sums of the positive and of the negative elements of a query (120 LUT), and "
        "the logarithm of a bound, which 16-bit weights cannot hold: about 1,900 LUT",
    ),
    Price(
        "early stop, of the largest",
        "the same, t as a distance of scores, 34 bits",
        "the same",
        "no weight before the last plane: the first pass needs no exponential",
        "no logarithm: about 1,500 LUT",
    ),
    Price(
        "early stop, 3 planes",
        "a third plane as well: 4 addresses and strides (words 32 to 35), widths, checks",
        "as with 2 planes",
        "a pass more; rows of 2 beats throughout",
        "as with 2 planes, and plane bases, orders and checks of the third: about 2,500 LUT",
    ),
    Price(
        "exponent by row",
        "addresses and strides of two tables (words 40 to 43), one bit that they are there",
        "2 bits a row of K and of V in memory; 2 x 2 x `max_sequence` bits on chip (1 EBR)",
        "n / 64 beats a row before its first key, and as many before its values",
        "elements shifted by 0 to 3 as they are converted (K and V of up to 9 bits fit 12): about 400 LUT",
    ),
    Price("merging pruned tokens", "none: between layers, on the host", "none", "none", "none"),
    Price(
        "value-norm importance",
        "one bit, and a factor of 16 bits a head that brings lengths to one scale",
        "the lengths of a head's values, `max_sequence` bytes on chip (1 EBR); none in memory",
        "none where V is on chip; where it is not, a row's gains wait for its values",
        "sums of magnitudes as values come in, about 300 LUT, and a product of 16 x 8 bit for each key of a "
        "word: 1 multiplier with up to 32 lanes, 2 with 64, 16 with the paper's 512",
    ),
    Price(
        "prior by the length of values",
        "none: the host writes running importance, `add_tokens` adds to it",
        "none",
        "none; the first job of a text reads 4 bytes a token",
        "none",
    ),
)
