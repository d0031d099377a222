# SPDX-License-Identifier: BSD-2-Clause
"""``make plan-grid``: measure the grid's jobs and write docs/plan.md with its picture, build/plan.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.progress import track

from spatten.report.write import write_atomic

from .grid import grid
from .measure import STORED, gateware_digest, key, measured, spec_digest, still_true
from .page import PAGE, draw, errors, is_random, page

NUMBERS = Path("build/plan.json")


def kept(jobs: dict[str, Any]) -> str:
    """The text of ``cycles.json``: a line a job."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in jobs.items())
    return f'{{\n "gateware": "{gateware_digest()}",\n "jobs": {{\n{lines}\n }}\n}}\n'


def main() -> None:
    """Measure what was not measured on this gateware, keep it, compare."""
    known, jobs = still_true(), {}
    for job in track(list(grid()), "jobs of the plan"):
        one = known.get(key(job), {})
        jobs[key(job)] = one if one.get("spec") == spec_digest(job) else measured(job)
        write_atomic(STORED, kept(known | jobs))
    found = {"gateware": gateware_digest(), "jobs": jobs}
    write_atomic(STORED, kept(jobs))
    write_atomic(PAGE, page(found))
    draw()
    NUMBERS.parent.mkdir(exist_ok=True)
    off = {name: abs(error) for name, error in errors(jobs).items()}
    numbers = {
        "plan_error_max": max(error for name, error in off.items() if not is_random(name)),
        "plan_error_max_random_jobs": max(error for name, error in off.items() if is_random(name)),
        "plan_error_mean": sum(off.values()) / len(off),
        "jobs": len(off),
    }
    write_atomic(NUMBERS, json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
