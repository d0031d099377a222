# SPDX-License-Identifier: BSD-2-Clause
"""Whole models on the system's own RTL, each job beside the emulator's."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spatten.catalog import LoadedModel, load
from spatten.runs.tasks import Generation, Run, Target, run_texts
from spatten_drivers import Emulator, open_device
from spatten_drivers.devices.verilator import Verilator

SENTENCE = "The harpooner leaned over the bow and watched the white whale rise from the sea at dawn."
PROMPT = "The whale rose from the sea, and the captain called for all hands to the boats"


@dataclass(frozen=True)
class Case:
    """A model, a schedule, and what it is given."""

    model: str
    task: str
    schedule: str
    text: str
    new_tokens: int = 0

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.model} {self.schedule}"


CASES = {
    case.name: case
    for case in (
        Case("minilm", "embedding", "dense", SENTENCE),
        Case("minilm", "embedding", "paper-bert", SENTENCE),  # pruned, 6+4 bits progressive
        Case("gpt2-prose", "generation", "dense", PROMPT, new_tokens=17),  # the last one is read by no job
        Case("gpt2-prose", "generation", "paper-gpt2", PROMPT, new_tokens=17),
    )
}


@dataclass(frozen=True)
class Compared:
    """A case on both devices.

    Attributes
    ----------
    jobs : layer jobs that ran.
    differing : numbers of those whose digests differ.
    cycles : of the system's clock, transfers over the bus included.
    job_cycles : of them, those in which the core worked on a job, as it counted them itself.
    seconds : of the simulation, and what the model does besides.
    same_output : whether the model's own output is the same.
    """

    name: str
    jobs: int
    differing: list[int]
    cycles: int
    job_cycles: int
    seconds: float
    same_output: bool


def compared(case: Case, soc: Verilator) -> Compared:
    """Run a case on the simulated system and on an emulator of its configuration."""
    loaded = load(case.model, case.task)
    with Emulator(soc.config, memory_bytes=soc.memory_bytes) as emulator:
        expected = _run(case, loaded, emulator)
    before, start = soc.cycles, time.perf_counter()
    found = _run(case, loaded, soc)
    seconds, cycles = time.perf_counter() - start, soc.cycles - before
    pairs = list(zip(found.record.layers, expected.record.layers, strict=True))
    return Compared(
        case.name,
        jobs=len(pairs),
        differing=[n for n, (mine, theirs) in enumerate(pairs) if mine.digest != theirs.digest],
        cycles=cycles,
        job_cycles=sum(record.counters["cycles"] for record in found.record.layers),
        seconds=seconds,
        same_output=found.texts[0].output == expected.texts[0].output,
    )


def _run(case: Case, loaded: LoadedModel, device: Emulator | Verilator) -> Run:
    generation = Generation(max_new_tokens=case.new_tokens)
    return run_texts(loaded, [case.text], Target(case.schedule, device), generation=generation)


def simulated(door: str = "front") -> Verilator:
    """The system of an ECPIX-5."""
    device = open_device(f"verilator?preset=ecp5-85f&door={door}")
    assert isinstance(device, Verilator)
    return device
