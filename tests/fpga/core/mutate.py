# SPDX-License-Identifier: BSD-2-Clause
"""``make core-mutate``: how many small wrong changes of the core the jobs of the coverage run notice."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import typer
from migen import Signal
from migen.fhdl.structure import _Fragment
from rich.console import Console
from rich.progress import track

from spatten.report.markdown import markdown_table
from spatten.report.write import write_atomic
from spatten_drivers.config import AcceleratorConfig
from spatten_fpga.sim import SimulationError
from spatten_fpga.sim.mutation import SELECT_BITS, Mutator, Site, sample
from spatten_fpga.sim.units import drivers, lowered, observed, spread

from .core_bench import CoreBench, TimedCore
from .coverage import PAGE, write_section
from .points import PACKAGE
from .stimuli import CONFIG, Stimulus, everything

NUMBERS = Path("build/core-mutants.json")
RANDOM_JOBS = 60
PATIENCE = 900  # seconds that a mutant may take for all jobs
FORK = multiprocessing.get_context("fork")
ANSWER, CYCLES, SURVIVED = "answer", "cycles", "survived"
COLUMNS = ["unit", "signal", "change", "before", "after"]


class MutantBench(CoreBench):
    """A core with ``sites`` changed: the input ``mutant`` chooses one by its number, from 1; 0 none."""

    def __init__(self, config: AcceleratorConfig, count: int, seed: int) -> None:
        self.core = TimedCore(config)
        self.select = Signal(SELECT_BITS)
        self.sites: dict[int, Site] = {}
        self.found = 0
        self.count, self.seed = count, seed
        super().__init__(self.core, {"mutant": self.select}, rewrite=self.mutants)

    def mutants(self, fragment: _Fragment) -> _Fragment:
        """Choose the sites, and change the design there."""
        fragment = lowered(fragment)
        units = spread(drivers(self.core, PACKAGE), fragment)
        scout = Mutator(units, self.select, seed=self.seed, resets=(self.core.answer.reset,))
        scout.fragment(fragment)
        chosen = sample(scout.sites, self.count, self.seed, observed(fragment, self.outputs()))
        self.sites = {number: scout.sites[place] for place, number in chosen.items()}
        self.found = len(scout.sites)
        return Mutator(units, self.select, chosen, self.seed).fragment(fragment)

    def outputs(self) -> list[Signal]:
        """What leaves the core."""
        core, memory = self.core, self.core.memory
        sources = [memory.command, memory.write, core.ends]
        sinks = [core.jobs, memory.data]
        return [
            *(signal for source in sources for signal in source.flatten() if signal is not source.ready),
            *(sink.ready for sink in sinks),
        ]


@dataclass(frozen=True)
class Trace:
    """What can be seen of a job besides its answer."""

    clocked: dict[str, int]
    cycles: int
    beats: int


def play(bench: MutantBench, job: Stimulus, limit: int) -> tuple[str, Trace]:
    """How the job's answer differs from the model's, and its times."""
    difference, (_, _, clocked) = job.run(bench, limit)
    return difference, Trace(clocked, bench.cycles, bench.beats)


# One mutant -----------------------------------------------------------------------------------------


def trial(bench: MutantBench, known: list[tuple[Stimulus, Trace]], number: int) -> tuple[str, str]:
    """What gave the mutant away, and in which job; it lives in a process of its own, for it may crash it."""
    reader, writer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_child, args=(bench, known, number, writer))
    process.start()
    writer.close()
    verdict = (ANSWER, "no end")
    if reader.poll(PATIENCE):
        try:
            verdict = reader.recv()
        except EOFError:
            verdict = (ANSWER, "crash of the simulation")
    process.kill()
    process.join()
    return verdict


def _child(bench: MutantBench, known: list[tuple[Stimulus, Trace]], number: int, writer: Connection) -> None:
    bench.reset(mutant=number)
    for job, trace in known:
        try:
            difference, now = play(bench, job, 4 * trace.cycles + 10_000)
        except (SimulationError, AssertionError, ValueError):  # no end, a broken stream, stray accesses
            difference, now = "not as a job goes", trace
        if difference or now != trace:
            writer.send((ANSWER if difference else CYCLES, job.name))
            return
    writer.send((SURVIVED, ""))


def learn(bench: MutantBench, jobs: Iterable[Stimulus]) -> list[tuple[Stimulus, Trace]]:
    """The times of the jobs on the core as it is; then leave it in the middle of one, for a reset to mend."""
    known = []
    for job in jobs:
        difference, trace = play(bench, job, 400_000)
        if difference:
            raise SimulationError(f"without a mutant, {job.name}: {difference}")
        known.append((job, trace))
    job, trace = known[0]
    try:
        job.run(bench, trace.cycles // 2)
    except SimulationError:
        return known
    raise SimulationError(f"{job.name} ended in half of its cycles")


# The run --------------------------------------------------------------------------------------------


def described(bench: MutantBench, number: int) -> dict[str, Any]:
    return {"number": number, **bench.sites[number].describe(bench.bench.names)}


def section(bench: MutantBench, verdicts: dict[int, tuple[str, str]], figures: dict[str, Any]) -> str:
    """The mutants' section of the page."""
    killed, count = figures["mutants"]
    rows = []
    for name, key in (("unit", "unit"), ("change", "kind")):
        groups = Counter(getattr(site, key) for site in bench.sites.values())
        dead = Counter(getattr(bench.sites[n], key) for n, (how, _) in verdicts.items() if how != SURVIVED)
        rows += [[name, f"`{group}`", f"{dead[group]} of {groups[group]}"] for group in sorted(groups)]
    survivors = [
        [f"`{site['unit']}`", f"`{site['signal']}`", site["kind"], *(_code(site[x]) for x in COLUMNS[3:])]
        for site in figures["survivors"]
    ]
    answer, cycles = figures["killed_by_answer"], figures["killed_by_cycles"]
    return f"""{killed} of {count} mutants killed: {answer} by an answer that is not the model's, a stream
that breaks its rules or a job without an end, {cycles} by cycles, counters of the clock or memory beats that
differ before any answer does. They are a sample, seed {figures["seed"]}, of {bench.found:,} places
at which the core was changed, a unit's share the root of its places: an operator, a constant, a condition
turned round, an assignment dropped, a reset dropped or given another value. Most registers that only carry
data have no reset, and so no such mutants.

{markdown_table(["by", "", "killed"], rows, 2)}

Survivors, in words of the Verilog; one can be a change that makes no difference:

{markdown_table(COLUMNS, survivors, 5)}
"""


def _code(text: str) -> str:
    shown = " ".join(text.split()).replace("|", "\\|")
    return f"`{shown[:90]}{' ...' if len(shown) > 90 else ''}`" if shown else ""


def main(
    mutants: Annotated[int, typer.Option(help="How many mutants.")] = 200,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 1,
    processes: Annotated[int, typer.Option(help="How many run at once.")] = os.cpu_count() or 1,
) -> None:
    """Build the core with a sample of mutants, and run jobs on each until one shows that it is wrong."""
    console = Console()
    bench = MutantBench(AcceleratorConfig(**asdict(CONFIG)), mutants, seed)
    jobs = everything(bench.states, RANDOM_JOBS)
    known = learn(bench, track(jobs, "without a mutant", console=console))
    if (control := trial(bench, known, 0))[0] != SURVIVED:
        raise SimulationError(f"no mutant, and yet {control}")
    with ThreadPoolExecutor(processes) as pool:
        tried = pool.map(lambda number: (number, trial(bench, known, number)), bench.sites)
        verdicts = dict(track(tried, "mutants", total=mutants, console=console))
    how = Counter(verdict for verdict, _ in verdicts.values())
    figures = {
        "mutants": [mutants - how[SURVIVED], mutants],
        "killed_by_answer": how[ANSWER],
        "killed_by_cycles": how[CYCLES],
        "seed": seed,
        "sites": bench.found,
        "jobs": len(jobs),
        "survivors": [described(bench, n) for n, (verdict, _) in verdicts.items() if verdict == SURVIVED],
        "verilog": hashlib.sha256(bench.bench.verilog.encode()).hexdigest(),
    }
    NUMBERS.parent.mkdir(exist_ok=True)
    write_atomic(NUMBERS, json.dumps(figures, indent=1) + "\n")
    write_section(PAGE, "Mutants", section(bench, verdicts, figures))
    console.print({name: figures[name] for name in ("mutants", "killed_by_answer", "killed_by_cycles")})


if __name__ == "__main__":
    typer.run(main)
