# SPDX-License-Identifier: BSD-2-Clause
"""The job of the timeline."""

from __future__ import annotations

from tests.model.jobs import PROGRESSIVE, HeadSpec, JobSpec
from tests.model.oracle_config import OracleConfig

FLAT, STEEP = 24, 19  # score shifts: the same scores make weights that are unsure, or sure


def decode_step(config: OracleConfig, n_slots: int = 256) -> JobSpec:
    """One query of four heads whose second is unsure of its weights and fetches the LSBs."""
    return JobSpec(
        config=config,
        head_dim=64,
        total_heads=4,
        heads=tuple(HeadSpec(head, score_shift=FLAT if head == 1 else STEEP) for head in range(4)),
        n_slots=n_slots,
        keys=tuple(range(0, n_slots, 2)),
        queries=(n_slots - 1,),
        keep_values=n_slots // 8,
        keep_tokens=n_slots // 4,
        keep_heads=4,
        widths=PROGRESSIVE,
    )
