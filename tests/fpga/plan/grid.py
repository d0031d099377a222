# SPDX-License-Identifier: BSD-2-Clause
"""Jobs that `spatten plan` is checked against: shapes, lengths, pruning and formats it must get right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from spatten_drivers.config import PRESETS
from tests.model.jobs import BY_KEY, DENSE, PROGRESSIVE, HeadSpec, JobSpec, Widths
from tests.model.oracle_config import OracleConfig

NEVER = (1 << 32) - 1
SURE = {"widths": PROGRESSIVE, "refetch_limit": NEVER}
UNSURE = {"widths": PROGRESSIVE, "refetch_limit": 0}
STATIC8 = {"widths": Widths(q=8, k_msb=8, k_lsb=0, v_msb=8, v_lsb=0, k_policy=0, v_policy=0)}
STATIC6 = {"widths": Widths(q=6, k_msb=6, k_lsb=0, v_msb=6, v_lsb=0, k_policy=0, v_policy=0)}
BOTH = {"widths": Widths(q=12, k_msb=6, k_lsb=4, v_msb=6, v_lsb=4, k_policy=1, v_policy=1)}


@dataclass(frozen=True)
class GridJob:
    """A job, the preset it runs on, and the memory behind it: ``in order`` or ``ecpix5``."""

    name: str
    preset: str
    memory: str
    spec: JobSpec

    @property
    def board(self) -> bool:
        """Whether LiteDRAM's controller stands between core and memory."""
        return self.memory != "in order"


def job(
    preset: str,
    slots: int,
    queries: tuple[int, ...],
    heads: int,
    keys: tuple[int, ...] | None = None,
    *,
    score_shift: int = 30,
    **more: Any,
) -> JobSpec:
    """A layer job of which every head and, unless ``keys`` says so, every token is alive.

    Importance goes on from the layer before, as in all jobs of a model but the first.
    """
    live = tuple(range(slots)) if keys is None else keys
    plain = JobSpec(
        config=OracleConfig(**asdict(PRESETS[preset])),
        head_dim=64,
        total_heads=heads,
        heads=tuple(HeadSpec(head, score_shift=score_shift) for head in range(heads)),
        n_slots=slots,
        keys=live,
        queries=queries,
        keep_values=65535,
        keep_tokens=-(-len(live) // 2),
        keep_heads=heads,
        widths=DENSE,
        add_tokens=True,
        add_heads=True,
    )
    return replace(plain, **more)


def prefill(preset: str, n: int, heads: int, **more: Any) -> JobSpec:
    """Every token of a text asks."""
    return job(preset, n, tuple(range(n)), heads, **more)


def pruned_prefill(preset: str, slots: int, live: int, heads: int, **more: Any) -> JobSpec:
    """A later layer of a text: pruned tokens neither ask nor answer."""
    kept = scattered(slots, live)
    return job(preset, slots, kept, heads, kept, **more)


def decode(preset: str, n: int, heads: int = 12, keys: int | None = None, **more: Any) -> JobSpec:
    """The newest token asks; ``keys`` of the tokens are alive, at random places."""
    return job(preset, n, (n - 1,), heads, None if keys is None else scattered(n, keys), **more)


def scattered(slots: int, count: int) -> tuple[int, ...]:
    """``count`` of the slots, the newest among them, the others at random."""
    draws = random.Random(slots * 4096 + count)
    return (*sorted(draws.sample(range(slots - 1), count - 1)), slots - 1)


def mixed(limit: int) -> dict[str, Any]:
    """6 + 4 bit of which about half of the rows refetch: scores spread over some octaves."""
    return {"widths": PROGRESSIVE, "refetch_limit": limit, "score_shift": 23}


def by_key(shift: int, limit: int = 0) -> dict[str, Any]:
    """4 bits of every key, 4 more of the few above 2^-``shift`` of a row's sum; values above ``limit``."""
    return {"widths": BY_KEY, "refetch_shift": shift, "value_limit": limit, "score_shift": 21}


def large() -> dict[str, JobSpec]:
    """Jobs of the 85F, 64 lanes."""
    p = "ecp5-85f"
    return {
        "prefill 16": prefill(p, 16, 12),
        "prefill 48, D 32": prefill(p, 48, 12, head_dim=32),
        "prefill 64": prefill(p, 64, 4),
        "prefill 100, D 32, 8 bit": prefill(p, 100, 12, head_dim=32, **STATIC8),
        "prefill 128, 3 heads": prefill(p, 128, 3),
        "prefill 200, causal": prefill(p, 200, 3, causal=True),
        "prefill 320, causal, 8 bit": prefill(p, 320, 2, causal=True, **STATIC8),
        "prefill 600, 1 head": prefill(p, 600, 1),
        "prefill 700, causal": prefill(p, 700, 2, causal=True, **STATIC8),
        "prefill 1024": prefill(p, 1024, 1),
        "prefill 128 to 40": pruned_prefill(p, 128, 40, 11),
        "prefill 128 to 90, D 32, unsure": pruned_prefill(p, 128, 90, 6, head_dim=32, **UNSURE),
        "prefill 96, half sure": prefill(p, 96, 4, **mixed(496_648)),
        "prefill 96, both planes": prefill(p, 96, 3, **BOTH),
        "decode 16": decode(p, 16),
        "decode 64": decode(p, 64),
        "decode 200, D 32": decode(p, 200, head_dim=32),
        "decode 256, 8 bit": decode(p, 256, **STATIC8),
        "decode 400, 6 bit": decode(p, 400, 6, **STATIC6),
        "decode 992": decode(p, 992, **STATIC8),
        "decode 992, 30 %": decode(p, 992, keys=298, **STATIC8),
        "decode 992, 30 %, sure, V 30 %": decode(p, 992, 11, 298, keep_values=89, **SURE),
        "decode 992, 20 %, unsure, V 30 %": decode(p, 992, 10, 198, keep_values=59, **UNSURE),
        "decode 992, 40 %, half sure, V 30 %": decode(p, 992, 12, 397, keep_values=119, **mixed(889_347)),
        "decode 512, 10 %, V 30 %, 8 heads": decode(p, 512, 8, 51, keep_values=15, **SURE),
        "decode 512, both planes": decode(p, 512, 4, **BOTH),
        "decode 512, 1 head": decode(p, 512, 1),
        "decode 4, 1 head": decode(p, 4, 1),
        "decode 992, by key, values limited": decode(p, 992, **by_key(7, 600)),
        "decode 992, 30 %, by key": decode(p, 992, 11, 298, **by_key(6)),
        "decode 512, by key, values limited, 8 heads": decode(p, 512, 8, **by_key(6, 1000)),
        "decode 256, by key, 1 head": decode(p, 256, 1, **by_key(6)),
    }  # fmt: skip


def small() -> dict[str, JobSpec]:
    """Jobs of the 25F, 8 lanes, whose buffers hold 128 rows."""
    p = "ecp5-25f"
    return {
        "prefill 16": prefill(p, 16, 4),
        "prefill 48, D 32": prefill(p, 48, 6, head_dim=32),
        "prefill 64": prefill(p, 64, 2),
        "prefill 100, causal": prefill(p, 100, 2, causal=True),
        "prefill 128, D 32, 8 bit": prefill(p, 128, 2, head_dim=32, **STATIC8),
        "prefill 128 to 40, sure": pruned_prefill(p, 128, 40, 3, **SURE),
        "prefill 64, unsure": prefill(p, 64, 2, **UNSURE),
        "prefill 160, stream": prefill(p, 160, 1, head_dim=32),
        "prefill 192 to 140, stream, causal": pruned_prefill(p, 192, 140, 1, causal=True, **STATIC8),
        "decode 16": decode(p, 16),
        "decode 128, D 32": decode(p, 128, head_dim=32),
        "decode 256": decode(p, 256, **STATIC8),
        "decode 480, 30 %": decode(p, 480, 6, 144, **STATIC8),
        "decode 480, 30 %, sure, V 30 %": decode(p, 480, 6, 144, keep_values=43, **SURE),
        "decode 480, 30 %, unsure, V 30 %": decode(p, 480, 6, 144, keep_values=43, **UNSURE),
        "decode 300, half sure": decode(p, 300, 12, **mixed(859_468)),
        "decode 480, 30 %, by key, values limited": decode(p, 480, 6, 144, **by_key(6, 600)),
        "decode 256, by key": decode(p, 256, **by_key(6)),
    }  # fmt: skip


def random_job(preset: str, seed: int) -> JobSpec:
    """A job as it comes; those from seed 10 on were measured when the plan stood."""
    draws = random.Random(f"plan {preset} {seed}")
    config = PRESETS[preset]
    slots = round(2 ** draws.uniform(3, config.max_sequence.bit_length() - 1))
    asks_alone = draws.random() < 0.5
    if not asks_alone:
        slots = min(slots, 200, config.kv_buffer_rows)
    live = max(2, round(slots * draws.choice((1.0, 1.0, 0.7, 0.4, 0.2))))
    heads = draws.randint(1, 12 if asks_alone else 4)
    more = {
        "head_dim": draws.choice((32, 64)),
        **draws.choice((SURE, UNSURE, STATIC8, STATIC6, BOTH, {}, mixed(draws.randint(100_000, 2_000_000)))),
        "keep_tokens": max(1, round(live * draws.choice((1.0, 0.8, 0.5)))),
        "keep_heads": max(1, round(heads * draws.choice((1.0, 0.8)))),
        "keep_values": max(1, round(live * draws.choice((1.0, 0.5, 0.3)))),
    }
    if asks_alone:
        return decode(preset, slots, heads, live, **more)
    return pruned_prefill(preset, slots, live, heads, causal=draws.random() < 0.5, **more)


#: Random jobs of each preset and memory.
RANDOM_JOBS = 16
#: Jobs that are also measured behind LiteDRAM; the others differ in what memory does not see.
ON_BOARD = (
    "prefill 16", "prefill 48, D 32", "prefill 128, 3 heads", "prefill 200, causal", "prefill 128 to 40",
    "prefill 96, half sure", "decode 16", "decode 64", "decode 200, D 32", "decode 256, 8 bit", "decode 992",
    "decode 992, 30 %", "decode 992, 30 %, sure, V 30 %", "decode 992, 20 %, unsure, V 30 %",
    "decode 992, 40 %, half sure, V 30 %", "decode 512, 10 %, V 30 %, 8 heads", "decode 512, both planes",
    "decode 512, 1 head", "prefill 700, causal", "decode 4, 1 head",
    "decode 992, by key, values limited", "decode 992, 30 %, by key",
    "decode 512, by key, values limited, 8 heads", "decode 256, by key, 1 head",
)  # fmt: skip


def grid() -> Iterator[GridJob]:
    """All jobs, in the order of the page. The bench's board memory takes whole words, so no 25F behind it."""
    for preset, specs, on_board in (("ecp5-85f", large(), ON_BOARD), ("ecp5-25f", small(), ())):
        specs |= {f"random {seed}": random_job(preset, seed) for seed in range(RANDOM_JOBS)}
        for name, spec in specs.items():
            yield GridJob(name, preset, "in order", spec)
        for name in (*on_board, *(name for name in specs if name.startswith("random") and on_board)):
            yield GridJob(name, preset, "ecpix5", specs[name])
