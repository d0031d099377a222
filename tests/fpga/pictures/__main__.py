# SPDX-License-Identifier: BSD-2-Clause
"""Draw both pictures of docs/core.md: ``python -m tests.fpga.pictures``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from spatten_drivers.config import DEFAULT_PRESET, PRESETS
from tests.model.jobs import HeadSpec, JobSpec, Widths, build
from tests.model.oracle_config import OracleConfig

from .blocks import draw_blocks
from .life import life
from .timeline import draw_timeline

DOCS = Path("docs")
TITLE = (
    "A decode step: 4 heads, 128 of 256 keys alive, 6 + 4 bit, head 1 refetches, a quarter of the values"
    " kept; memory of 20 cycles latency"
)
FLAT, STEEP = 24, 19  # score shifts: the same scores make weights that are unsure, or sure


def step(config: OracleConfig, n_slots: int = 256) -> JobSpec:
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
        widths=Widths(q=12, k_msb=6, k_lsb=4, v_msb=6, v_lsb=4, k_policy=2, v_policy=2),
    )


def main() -> None:
    config = PRESETS[DEFAULT_PRESET]
    draw_blocks(DOCS / "core-blocks.svg", config)
    image = build(step(OracleConfig(**asdict(config))))
    draw_timeline(DOCS / "core-timeline.svg", life(image), TITLE)


if __name__ == "__main__":
    main()
