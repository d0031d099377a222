# SPDX-License-Identifier: BSD-2-Clause
"""Random layer jobs: every parameter from one `random.Random`, so that a seed or Hypothesis can drive it.

With `hypothesis.strategies.randoms(use_true_random=False).map(random_spec)` failing jobs shrink.
"""

from __future__ import annotations

import random
from dataclasses import replace
from math import sqrt

from .jobs import FILL_NAMES, NEAR_ROWS, OLD_NAMES, HeadSpec, JobSpec, Widths
from .oracle_config import OracleConfig

PAPER = OracleConfig(
    head_dims=(32, 64, 96, 128), max_sequence=128, max_heads=16, kv_buffer_rows=16, beat_bytes=64
)
MSB_WIDTHS = (4, 6, 8, 10, 12)
NEVER = (1 << 32) - 1
ONE = 65535  # the smallest possible weight sum: one key carries the row


def random_config(rng: random.Random) -> OracleConfig:
    """A device: beat sizes, buffers too small and large enough for reuse, both operand widths."""
    if rng.randrange(8) == 0:
        return PAPER
    return OracleConfig(
        operand_bits=rng.choice((12, 16)),
        kv_buffer_rows=rng.choice((0, 2, 8, 64)),
        beat_bytes=rng.choice((4, 8, 16, 32, 64)),
        abi_minor=rng.choice((1, 1, 1, 0)),
    )


def random_widths(rng: random.Random, operand_bits: int) -> Widths:
    """Legal operand formats and policies, progressive more often than not."""
    k_lsb, v_lsb = rng.choice((4, 4, 4, 0)), rng.choice((4, 4, 0))
    k_policy = rng.choice((2, 2, 2, 1, 0)) if k_lsb else 0
    v_policy = rng.choice((0, 1, 2) if k_policy == 2 else (0, 1)) if v_lsb else 0
    return Widths(
        q=rng.choice(MSB_WIDTHS),
        k_msb=rng.choice([w for w in MSB_WIDTHS if w + k_lsb <= operand_bits]),
        k_lsb=k_lsb,
        v_msb=rng.choice([w for w in MSB_WIDTHS if w + v_lsb <= operand_bits]),
        v_lsb=v_lsb,
        k_policy=k_policy,
        v_policy=v_policy,
    )


def spread(widths: Widths, head_dim: int, octaves: float) -> tuple[int, int]:
    """(score_mult, score_shift) that make a standard deviation of uniform scores `octaves` powers of two."""
    deviation = 2.0 ** (widths.q + widths.k_msb + widths.k_lsb) / 12 * sqrt(head_dim)
    factor, shift = octaves * 4096 / deviation, 1
    while shift < 48 and factor * 2 ** (shift + 1) < 65536:
        shift += 1
    return min(65535, max(1, round(factor * 2**shift))), shift


def random_head(rng: random.Random, head_id: int, widths: Widths, head_dim: int, fill: str) -> HeadSpec:
    """Scores that spread usefully, or sometimes any multiplier and shift at all."""
    octaves = rng.choice((0.05, 0.5, 1.5, 4.0)) * (64 if fill == NEAR_ROWS else 1)
    mult, shift = spread(widths, head_dim, octaves)
    if rng.randrange(5) == 0:
        mult, shift = rng.choice((0, 1, 65535, rng.getrandbits(16))), rng.choice((1, 48, rng.randint(1, 48)))
    return HeadSpec(
        head_id,
        shift,
        mult,
        rng.choice((0, 1, 65535, rng.getrandbits(16))),
        rng.choice((0, 47, rng.randint(0, 47))),
    )


def _some(rng: random.Random, population: int, most: int) -> tuple[int, ...]:
    """An ascending selection of 1 to `most` of the numbers below `population`."""
    return tuple(sorted(rng.sample(range(population), rng.randint(1, min(most, population)))))


def random_spec(rng: random.Random, most_slots: int = 24, config: OracleConfig | None = None) -> JobSpec:
    """Any legal job of at most `most_slots` slots, or about 60 for one in sixteen; for a device, if given."""
    config = config or random_config(rng)
    widths = random_widths(rng, config.operand_bits)
    head_dim = rng.choice(config.head_dims)
    total_heads = rng.randint(1, 4)
    head_ids = _some(rng, total_heads, total_heads)
    n_slots = rng.randint(1, most_slots if rng.randrange(16) else 60)
    keys, queries = _some(rng, n_slots, n_slots), _some(rng, n_slots, 6)
    by_key = config.abi_minor > 0 and widths.k_lsb > 0 and rng.randrange(3) == 0
    if by_key:
        widths, queries = replace(widths, k_policy=3, v_policy=widths.v_policy % 2), queries[-1:]
    causal = keys[0] <= queries[0] and rng.random() < 0.6
    fill = rng.choice((*FILL_NAMES, "uniform", "uniform"))
    equal = max(1, len(keys).bit_length() - 1)  # 2^-equal is about the share of one of so many equal keys
    keep_tokens = rng.randint(1, len(keys))
    protected = rng.sample(keys, rng.randint(0, keep_tokens)) if rng.random() < 0.5 else []
    return JobSpec(
        config=config,
        head_dim=head_dim,
        total_heads=total_heads,
        heads=tuple(random_head(rng, head_id, widths, head_dim, fill) for head_id in head_ids),
        n_slots=n_slots,
        keys=keys,
        protected=frozenset(protected),
        queries=queries,
        keep_values=rng.choice((1, rng.randint(1, len(keys)), len(keys), 65535)),
        keep_tokens=keep_tokens,
        keep_heads=rng.randint(1, len(head_ids)),
        widths=widths,
        refetch_limit=rng.choice(
            (0, ONE, rng.randint(ONE, ONE * len(keys)), rng.randint(ONE, ONE * 4), NEVER)
        ),
        refetch_shift=rng.choice((equal, equal + 1, equal + 2, rng.randint(1, 16))) if by_key else 0,
        value_limit=rng.choice((0, 1, ONE, rng.getrandbits(16))) if config.abi_minor else 0,
        decay=rng.choice((0, 1, 65535, 65536, rng.randint(0, 65536))),
        causal=causal,
        add_tokens=rng.random() < 0.5,
        add_heads=rng.random() < 0.5,
        fill=fill,
        old=rng.choice(OLD_NAMES),
        job_id=rng.getrandbits(32),
        seed=rng.getrandbits(32),
    )
