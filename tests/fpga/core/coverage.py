# SPDX-License-Identifier: BSD-2-Clause
"""``make core-coverage``: what a run of named and random jobs saw of one small core, in tables."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from migen import Memory, Signal
from rich.console import Console
from rich.progress import track

from spatten.report.markdown import markdown_table
from spatten.report.write import write_atomic
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.sim import SimulationError
from spatten_fpga.sim.coverage import Share, by_unit, read_counts, total
from spatten_fpga.sim.units import OUTSIDE

from .points import ObservedBench
from .stimuli import CONFIG, Stimulus, everything

PAGE, NUMBERS = Path("docs/core-coverage.md"), Path("build/coverage.json")
TITLE = """# What the tests of the core see

Made by `make core-coverage` and `make core-mutate`; every figure is of one small core:
{config}.
"""
RANDOM_JOBS = 100

Watch = Callable[[list[Stimulus]], Iterable[Stimulus]]


@dataclass(frozen=True)
class Seen:
    """What a run saw.

    Attributes
    ----------
    bench : with its points and their hits.
    jobs : how many ran.
    wrong : jobs in which the core differed from the model, and how.
    lines, toggles : by unit.
    """

    bench: ObservedBench
    jobs: int
    wrong: list[str]
    lines: dict[str, Share]
    toggles: dict[str, Share]

    @property
    def missed(self) -> list[str]:
        """Points that no job hit."""
        return [name for name, hits in self.bench.hits.items() if not hits]

    @property
    def figures(self) -> dict[str, float | list[int]]:
        """What build/coverage.json says."""
        line, toggle = total(self.lines), total(self.toggles)
        hits = self.bench.hits
        return {
            "line_coverage": line.hit / line.total,
            "toggle_coverage": toggle.hit / toggle.total,
            "functional_points": [len(hits) - len(self.missed), len(hits)],
        }


def run(watch: Watch = iter) -> Seen:
    """All jobs on one core that counts, each compared with the model; ``watch`` sees them pass."""
    bench = ObservedBench(AcceleratorConfig(**asdict(CONFIG)), coverage=True)
    jobs = everything(bench.states, RANDOM_JOBS)
    wrong = []
    for job in watch(jobs):
        try:
            difference, _ = job.run(bench)
        except SimulationError as error:
            difference = str(error)
        if difference:
            wrong.append(f"{job.name}: {difference}")
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder) / "coverage.dat"
        bench.bench.write_coverage(counted)
        shares = by_unit(read_counts(counted), bench.bench.verilog, unit_names(bench))
    return Seen(bench, len(jobs), wrong, shares["line"], shares["toggle"])


def unit_names(bench: ObservedBench) -> dict[str, str]:
    """The unit of every name of the Verilog; what only observes or ends jobs is in none."""
    named = {thing: unit for thing, unit in bench.units.items() if isinstance(thing, Signal | Memory)}
    return {bench.bench.names(thing): unit for thing, unit in named.items() if unit != OUTSIDE}


# The page -------------------------------------------------------------------------------------------


def section(seen: Seen) -> str:
    """The coverage section of the page."""
    hits, (hit, count) = seen.bench.hits, seen.figures["functional_points"]
    points = [
        [group, point.name, point.shows, f"{hits[point.name]:,}"]
        for group, members in seen.bench.core.groups.items()
        for point in members
    ]
    units = [
        [f"`{unit}`", str(seen.lines.get(unit, Share())), str(seen.toggles.get(unit, Share()))]
        for unit in sorted(seen.lines | seen.toggles)
    ]
    units.append(["all", str(total(seen.lines)), str(total(seen.toggles))])
    return f"""{seen.jobs} jobs ran; core and software model left the same bytes after all but
{len(seen.wrong)} of them.

### Functional points

{hit} of {count} hit. A point is an expression over signals of the core; it is hit by a job in which it was
once true.

{markdown_table(["group", "point", "what it is", "jobs"], points, 3)}

### Lines and toggles

Counted by Verilator: a line point is a block of statements or one way of a branch, a toggle point is one bit
that rises, or one bit that falls. A unit is the source file that drives the signal. Initial values are not
counted.

{markdown_table(["unit", "line points hit", "toggle points hit"], units)}
"""


def write_section(page: Path, heading: str, body: str) -> None:
    """Put a section into the page, in the place of the one with its heading if there is one."""
    shown = ", ".join(f"`{name}` {value}" for name, value in asdict(CONFIG).items())
    parts = re.split(r"^## ", page.read_text("utf-8") if page.exists() else "", flags=re.MULTILINE)[1:]
    sections = dict(part.split("\n", 1) for part in parts) | {heading: f"\n{body.strip()}\n\n"}
    text = TITLE.format(config=shown) + "".join(f"\n## {name}\n{sections[name]}" for name in sorted(sections))
    page.parent.mkdir(exist_ok=True)
    write_atomic(page, re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n")


def write(seen: Seen, page: Path = PAGE) -> None:
    """The section of the page, and the figures."""
    write_section(page, "Coverage", section(seen))
    NUMBERS.parent.mkdir(exist_ok=True)
    write_atomic(NUMBERS, json.dumps(seen.figures, indent=1) + "\n")


def main() -> int:
    """Run, write, and say what was missed; 0 if nothing was and no job went wrong."""
    console = Console()
    seen = run(lambda jobs: track(jobs, "jobs", console=console))
    write(seen)
    for line in [*seen.wrong, *(f"not hit: {name}" for name in seen.missed)]:
        console.print(line, markup=False)
    console.print(json.dumps(seen.figures), markup=False)
    return 1 if seen.wrong or seen.missed else 0


if __name__ == "__main__":
    sys.exit(main())
