# SPDX-License-Identifier: BSD-2-Clause
"""docs/plan.md: the plan beside the simulation, job by job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatten.plan import BOARDS, DRAMS, SIMULATED, model_shape, plan_text
from spatten.plan.roofline import Workload, draw_roofline
from spatten.presets import preset
from spatten.report.markdown import markdown_table

from .facts import predicted
from .grid import GridJob, grid
from .measure import key

PAGE, PICTURE = Path("docs/plan.md"), Path("docs/plan-roofline.svg")
TEXT = Path(__file__).parent / "page.md"
COLUMNS = ("job", "simulated", "planned", "error", "slowest")


def errors(jobs: Mapping[str, Any]) -> dict[str, float]:
    """Relative error of the planned cycles of each job that was measured."""
    found = {}
    for job in grid():
        one = jobs[key(job)]
        found[key(job)] = predicted(job, one).cycles / one["cycles"] - 1.0
    return found


def is_random(name: str) -> bool:
    """Whether a job of that key was drawn, not chosen."""
    return ": random " in name


def _figures(what: str, found: Mapping[str, float], jobs: Mapping[str, Any]) -> dict[str, str]:
    """Number of jobs, worst and mean error for the page."""
    worst = max(found, key=lambda name: abs(found[name]))
    return {
        f"{what}_count": str(len(found)),
        f"{what}_worst": f"{100 * abs(found[worst]):.1f} %",
        f"{what}_which": f"{worst}, {jobs[worst]['cycles']:,} cycles",
        f"{what}_mean": f"{100 * sum(map(abs, found.values())) / len(found):.2f} %",
    }


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
    drawn = {name: error for name, error in found.items() if is_random(name)}
    chosen = {name: error for name, error in found.items() if name not in drawn}
    return TEXT.read_text("utf-8").format(
        tables="\n\n".join(tables),
        count=len(found),
        **_figures("chosen", chosen, stored["jobs"]),
        **_figures("drawn", drawn, stored["jobs"]),
        gateware=stored["gateware"],
        boards=_boards(),
    )


def _boards() -> str:
    """Rows of the table of boards."""
    cells = (
        (name, board.title, f"`{board.preset}`", f"{board.clock / 1e6:g} MHz", DRAMS[board.dram].name)
        for name, board in BOARDS.items()
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


#: What the picture shows: model, schedule, tokens of the prompt or sentence, generated ones.
SHOWN = (
    ("minilm", "paper-bert", 128, 0),
    ("gpt2-prose", "recent-gpt2", 256, 32),
    ("gpt2-small", "paper-gpt2", 960, 32),
)


def draw() -> None:
    """docs/plan-roofline.svg."""
    points = []
    for model, schedule, prompt, generate in SHOWN:
        shape = model_shape(model)
        rules = [preset(name, shape.layers, prompt) for name in (schedule, "dense-8bit")]
        made = plan_text(SIMULATED, shape, *rules, prompt, generate, refetch_share=0.1)
        points += [
            Workload(f"{model}, {phase}", pruned, made.dense[phase]) for phase, pruned in made.pruned.items()
        ]
    draw_roofline(SIMULATED, points, PICTURE)


MEMORIES = {
    "in order": "memory in order: a beat a cycle, 20 cycles latency",
    "ecpix5": "LiteDRAM's controller of the ECPIX-5 at 75 MHz",
}


def _table(jobs: list[GridJob], measured: Mapping[str, Any], found: Mapping[str, float]) -> str:
    rows = []
    for job in jobs:
        one = measured[key(job)]
        cost = predicted(job, one)
        error = f"{100 * found[key(job)]:+.2f} %"
        rows.append([job.name, f"{one['cycles']:,}", f"{cost.cycles:,.0f}", error, cost.bottleneck])
    return markdown_table(COLUMNS, rows)
