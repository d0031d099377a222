# SPDX-License-Identifier: BSD-2-Clause
"""Draw both pictures of docs/core.md: ``python -m tests.fpga.pictures``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from spatten_drivers.config import DEFAULT_PRESET, PRESETS
from tests.model.jobs import build
from tests.model.oracle_config import OracleConfig

from .blocks import draw_blocks
from .job import decode_step
from .life import life
from .timeline import draw_timeline

DOCS = Path("docs")
TITLE = (
    "A decode step: 4 heads, 128 of 256 keys alive, 6 + 4 bit, head 1 refetches, a quarter of the values"
    " kept; memory of 20 cycles latency"
)


def main() -> None:
    config = PRESETS[DEFAULT_PRESET]
    draw_blocks(DOCS / "core-blocks.svg", config)
    image = build(decode_step(OracleConfig(**asdict(config))))
    draw_timeline(DOCS / "core-timeline.svg", life(image), TITLE)


if __name__ == "__main__":
    main()
