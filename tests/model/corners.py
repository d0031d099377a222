# SPDX-License-Identifier: BSD-2-Clause
"""Named jobs at the edges of the contract."""

from __future__ import annotations

from dataclasses import replace

from .generator import NEVER, ONE, PAPER
from .jobs import HeadSpec, JobSpec, Widths
from .oracle_config import OracleConfig

STREAM = OracleConfig(kv_buffer_rows=2)
LONG = OracleConfig(max_sequence=1024, kv_buffer_rows=1024)
NARROW = Widths(q=4, k_msb=4, v_msb=4)
WIDEST = Widths(q=12, k_msb=12, v_msb=12)
ONE_PLANE = Widths(k_lsb=0, v_lsb=0, k_policy=0, v_policy=0)
FOUR_HEADS = tuple(HeadSpec(i, score_mult=20000 + 3000 * i) for i in range(4))


def _slots(count: int) -> tuple[int, ...]:
    return tuple(range(count))


SMALL = JobSpec(
    n_slots=9,
    keys=_slots(9),
    queries=(2, 5, 8),
    total_heads=4,
    heads=FOUR_HEADS,
    keep_heads=2,
    keep_tokens=5,
    seed=1,
)

LOUD = replace(SMALL, config=STREAM, total_heads=2, heads=FOUR_HEADS[:2], keep_values=9, value_limit=32768)
# A step of generation that reads the second plane of K for the likely keys alone.
LIKELY = replace(
    SMALL,
    queries=(8,),
    widths=Widths(q=8, k_msb=4, k_lsb=4, v_msb=6, v_lsb=0, k_policy=3, v_policy=0),
    total_heads=2,
    heads=(HeadSpec(0, 17, 20000), HeadSpec(1, 17, 29000)),
    refetch_shift=3,
)

# name: (what it tests, job)
CORNERS: dict[str, tuple[str, JobSpec]] = {
    "one_of_each": (
        "one key, one query, one head: the weight is 65535 and the output is the value",
        JobSpec(n_slots=1, keys=(0,), queries=(0,), keep_values=1, keep_tokens=1),
    ),
    "one_live_head": (
        "all heads but the last are pruned; importance of the others is cleared",
        replace(SMALL, heads=FOUR_HEADS[3:], keep_heads=1),
    ),
    "one_live_head_added": (
        "all heads but one are pruned; importance of the others stays",
        replace(SMALL, heads=FOUR_HEADS[1:2], keep_heads=1, add_heads=True, add_tokens=True, decay=60000),
    ),
    "keep_one": (
        "one value, one token, one head are kept",
        replace(SMALL, keep_values=1, keep_tokens=1, keep_heads=1),
    ),
    "keep_all": (
        "nothing is pruned; keep_values is greater than any row",
        replace(SMALL, keep_values=65535, keep_tokens=9, keep_heads=4),
    ),
    "equal_scores": (
        "all keys are the same: ties go to the lower slot, the sum is n * 65535",
        replace(SMALL, fill="equal", keep_values=3, keep_tokens=4, old="zero"),
    ),
    "zero_multiplier": (
        "score_mult 0 makes every weight 65535 whatever the scores",
        replace(SMALL, heads=(HeadSpec(0, score_mult=0), HeadSpec(2, score_mult=0)), keep_values=2),
    ),
    "steepest_softmax": (
        "score_mult 65535 and shift 1: every key but the best has weight 0",
        replace(SMALL, heads=(HeadSpec(1, 1, 65535),), keep_heads=1),
    ),
    "widest_extremes": (
        "12-bit queries, 16-bit K and V of extreme patterns, the most negative ones too",
        replace(
            SMALL, widths=WIDEST, fill="extreme", head_dim=64, heads=(HeadSpec(0, 31, 40000),), keep_heads=1
        ),
    ),
    "most_negative": (
        "every operand is the most negative number; outputs are almost -32768",
        replace(SMALL, widths=WIDEST, fill="most_negative", keep_values=65535),
    ),
    "narrow": (
        "4-bit queries and MSB planes, fraction of 8 bits",
        replace(SMALL, widths=NARROW, heads=(HeadSpec(0, 14, 49000),), keep_heads=1),
    ),
    "one_plane": (
        "no LSB planes: their addresses and strides are not looked at",
        replace(SMALL, widths=ONE_PLANE, fill="extreme", heads=(HeadSpec(2, 16, 32000),), keep_heads=1),
    ),
    "msb_only": (
        "LSB planes exist and are never used: K without offset, V with its midpoint",
        replace(SMALL, widths=Widths(k_policy=0, v_policy=0)),
    ),
    "always_both": (
        "both planes of K and V in every row",
        replace(SMALL, widths=Widths(k_policy=1, v_policy=1)),
    ),
    "refetch_every_row": (
        "refetch_limit 0: all rows are redone, V follows",
        replace(SMALL, widths=Widths(v_policy=2), refetch_limit=0),
    ),
    "refetch_no_row": (
        "refetch_limit 2^32 - 1 (threshold 0): V stays at its MSB plane",
        replace(SMALL, widths=Widths(v_policy=2), refetch_limit=NEVER),
    ),
    "refetch_unless_certain": (
        "refetch_limit 65535 (threshold 1): only a row of one weight is spared",
        replace(
            SMALL, widths=Widths(v_policy=2), refetch_limit=ONE, heads=(HeadSpec(1), HeadSpec(2, 1, 65535))
        ),
    ),
    "refetch_some_rows": (
        "a limit between: reuse mode fetches LSB rows once for a head with any refetch",
        replace(SMALL, widths=Widths(v_policy=2), refetch_limit=3 * ONE),
    ),
    "stream_some_rows": (
        "the same in stream mode: LSB rows of the refetched rows only, V rows of kept keys only",
        replace(SMALL, config=STREAM, widths=Widths(v_policy=2), refetch_limit=3 * ONE, keep_values=2),
    ),
    "stream_causal": (
        "stream mode counts visible keys; the first query sees one",
        replace(SMALL, config=STREAM, causal=True, queries=(0, 3, 8), keep_values=2),
    ),
    "reuse_causal": (
        "reuse mode counts all live keys, also those no query sees",
        replace(SMALL, causal=True, queries=(0, 3, 5), keep_values=2),
    ),
    "one_query": (
        "one query streams although its keys would fit the buffer",
        replace(SMALL, queries=(8,), causal=True, keep_values=4),
    ),
    "sparse_lists": (
        "pruned slots and queries between live ones, protected keys that matter least",
        replace(
            SMALL,
            n_slots=40,
            keys=(1, 4, 5, 17, 29, 38, 39),
            queries=(3, 20, 39),
            protected=frozenset({1, 38}),
            causal=True,
            add_tokens=True,
            keep_tokens=3,
        ),
    ),
    "all_protected": (
        "as many protected keys as survivors",
        replace(SMALL, protected=frozenset({0, 2, 4, 6, 8}), keep_tokens=5),
    ),
    "token_saturation": (
        "old token importance near 2^32 saturates and ties go to the lower slot",
        replace(SMALL, old="high", add_tokens=True, add_heads=True),
    ),
    "head_saturation": (
        "old head importance near 2^48, greatest multiplier, shift 0",
        replace(
            SMALL,
            old="high",
            add_heads=True,
            heads=(HeadSpec(0, importance_mult=65535, importance_shift=0), HeadSpec(3, importance_mult=0)),
        ),
    ),
    "decay_to_nothing": (
        "decay 0 forgets the live slots and leaves the others",
        replace(SMALL, add_tokens=True, decay=0, keys=(1, 2, 6), queries=(4, 7), keep_tokens=2),
    ),
    "odd_lengths": (
        "odd counts against 64-byte beats: padding in every table and region",
        replace(
            SMALL, config=replace(STREAM, beat_bytes=64), n_slots=7, keys=(0, 2, 3, 5, 6), queries=(1, 6)
        ),
    ),
    "four_byte_beats": (
        "the narrowest beat",
        replace(SMALL, config=replace(STREAM, beat_bytes=4), keys=(0, 2, 3, 5, 6), queries=(1, 6)),
    ),
    "paper_96": (
        "head dimension 96 and rows that end inside a beat",
        replace(
            SMALL, config=PAPER, head_dim=96, heads=(HeadSpec(2, 20, 30000),), keep_heads=1, queries=(2, 8)
        ),
    ),
    "paper_128": (
        "head dimension 128, two heads",
        replace(
            SMALL, config=PAPER, head_dim=128, heads=(HeadSpec(0, 20, 30000), HeadSpec(3, 22)), queries=(4,)
        ),
    ),
    "value_limit": (
        "values of less than half the greatest weight are dropped: stream mode does not fetch them",
        replace(LOUD, widths=Widths(v_policy=2)),
    ),
    "value_limit_reuse": (
        "the same in reuse mode, which fetches them and leaves them out",
        replace(LOUD, config=SMALL.config, widths=Widths(v_policy=2)),
    ),
    "value_limit_and_count": (
        "limit and keep_values: whichever drops more, row by row",
        replace(LOUD, causal=True, value_limit=40000, keep_values=3),
    ),
    "value_limit_highest": (
        "limit 65535 and equal keys: every weight reaches it, keep_values decides",
        replace(LOUD, fill="equal", value_limit=65535, keep_values=3),
    ),
    "value_limit_one": (
        "limit 1: only weights of 0 are dropped",
        replace(LOUD, value_limit=1, heads=(HeadSpec(0, 16), HeadSpec(1))),
    ),
    "by_key_likely": (
        "keys above an eighth of the sum refetch, one or more a head",
        LIKELY,
    ),
    "by_key_none": (
        "no key is above half of the sum: the first pass stands",
        replace(LIKELY, refetch_shift=1),
    ),
    "by_key_all": (
        "a share of 2^-16: every key refetches, V uses both planes",
        replace(LIKELY, refetch_shift=16, widths=Widths(8, 4, 4, 6, 4, 3, 1), causal=True),
    ),
    "by_key_overtaken": (
        "the likely keys fall below others, which then count as much as the best of them",
        replace(LIKELY, heads=(HeadSpec(0, 13, 20000), HeadSpec(1, 13, 29000)), fill="near", seed=4),
    ),
    "by_key_value_limit": (
        "both limits: values of a low second weight are not fetched; V stands at its midpoint",
        replace(
            LIKELY, widths=Widths(8, 4, 4, 6, 4, 3, 0), refetch_shift=4, value_limit=9000, keep_values=65535
        ),
    ),
    "by_key_widest": (
        "12 + 4 bits of extreme patterns, head dimension 64",
        replace(
            LIKELY,
            widths=Widths(12, 12, 4, 12, 4, 3, 1),
            fill="extreme",
            head_dim=64,
            heads=(HeadSpec(0, 31, 40000),),
            keep_heads=1,
        ),
    ),
    "by_key_paper_128": (
        "head dimension 128, pruned keys, one head keeps fewer values than the other",
        replace(
            LIKELY,
            config=PAPER,
            head_dim=128,
            n_slots=13,
            keys=(1, 4, 5, 7, 9, 11, 12),
            queries=(12,),
            heads=(HeadSpec(0, 18, 30000), HeadSpec(1, 15)),
            protected=frozenset({1, 11}),
            keep_tokens=3,
            value_limit=20000,
            add_tokens=True,
        ),
    ),
    "thousand_keys": (
        "1,024 keys: the largest sum and its reciprocal",
        JobSpec(
            config=LONG,
            n_slots=1024,
            keys=_slots(1024),
            queries=(1023,),
            keep_values=100,
            keep_tokens=300,
            widths=Widths(q=4, k_msb=4, k_lsb=0, v_msb=4, v_lsb=0, k_policy=0, v_policy=0),
            heads=(HeadSpec(0, 20, 1),),
        ),
    ),
}
