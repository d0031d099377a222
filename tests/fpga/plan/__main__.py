# SPDX-License-Identifier: BSD-2-Clause
"""``make plan-grid``: measure every job of the grid and write docs/plan.md with its picture, build/plan.json."""

from __future__ import annotations

import json
from pathlib import Path

from rich.progress import track

from spatten.report.write import write_atomic

from .grid import grid
from .measure import STORED, gateware_digest, key, measured
from .page import PAGE, draw, errors, page

NUMBERS = Path("build/plan.json")


def main() -> None:
    """Measure, keep, compare."""
    jobs = {key(job): measured(job) for job in track(list(grid()), "jobs of the plan")}
    found = {"gateware": gateware_digest(), "jobs": jobs}
    write_atomic(STORED, json.dumps(found, indent=1) + "\n")
    write_atomic(PAGE, page(found))
    draw()
    NUMBERS.parent.mkdir(exist_ok=True)
    worst = max(map(abs, errors(jobs).values()))
    write_atomic(NUMBERS, json.dumps({"plan_error_max": worst, "jobs": len(jobs)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
