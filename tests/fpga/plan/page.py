# SPDX-License-Identifier: BSD-2-Clause
"""docs/plan.md: the plan beside the simulation, job by job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatten.report.markdown import markdown_table

from .facts import predicted
from .grid import GridJob, grid
from .measure import key

PAGE = Path("docs/plan.md")
TEXT = Path(__file__).parent / "page.md"
COLUMNS = ("job", "simulated", "planned", "error", "slowest")


def errors(jobs: Mapping[str, Any]) -> dict[str, float]:
    """Relative error of the planned cycles of each job that was measured."""
    found = {}
    for job in grid():
        one = jobs[key(job)]
        found[key(job)] = predicted(job, one["refetched_rows"]).cycles / one["cycles"] - 1.0
    return found


def page(stored: Mapping[str, Any]) -> str:
    """The page, from what was measured."""
    found = errors(stored["jobs"])
    groups: dict[tuple[str, str], list[GridJob]] = {}
    for job in grid():
        groups.setdefault((job.preset, job.memory), []).append(job)
    tables = [
        f"### `{preset}`, {MEMORIES[memory]}\n\n{_table(jobs, stored['jobs'], found)}"
        for (preset, memory), jobs in groups.items()
    ]
    worst = max(found, key=lambda name: abs(found[name]))
    return TEXT.read_text("utf-8").format(
        tables="\n\n".join(tables),
        count=len(found),
        worst=f"{100 * abs(found[worst]):.1f} %",
        which=worst,
        mean=f"{100 * sum(map(abs, found.values())) / len(found):.2f} %",
        gateware=stored["gateware"],
    )


MEMORIES = {
    "in order": "memory in order: a beat a cycle, 20 cycles latency",
    "ecpix5": "LiteDRAM's controller of the ECPIX-5 at 75 MHz",
}


def _table(jobs: list[GridJob], measured: Mapping[str, Any], found: Mapping[str, float]) -> str:
    rows = []
    for job in jobs:
        one = measured[key(job)]
        cost = predicted(job, one["refetched_rows"])
        error = f"{100 * found[key(job)]:+.2f} %"
        rows.append([job.name, f"{one['cycles']:,}", f"{cost.cycles:,.0f}", error, cost.bottleneck])
    return markdown_table(COLUMNS, rows)
