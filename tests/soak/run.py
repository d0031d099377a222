# SPDX-License-Identifier: BSD-2-Clause
"""The soak itself: jobs until the time is over or one differs, with samples between them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from spatten_drivers.devices import Device

from .flat import LEAST, MEMORY_SLACK, Sample, growth, is_flat, sample
from .jobs import config_of, difference, drawn

SAMPLES = 200  # of a run
WARMING = 100  # jobs before the clock starts: the model's kernels are compiled as they are first used


@dataclass
class Soak:
    """How a run went.

    Attributes
    ----------
    jobs : by kind; ``whole``, ``broken`` (a field that no device takes) and ``aborted``.
    opened : how often the device was opened.
    wrong : the first difference from the model, empty if there was none.
    """

    seed: int
    jobs: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    seconds: float = 0.0
    wrong: str = ""
    samples: list[Sample] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.wrong and is_flat(growth(self.samples))

    def text(self) -> str:
        """A few lines; the last one is the verdict."""
        count = ", ".join(f"{n:,} {kind}" for kind, n in sorted(self.jobs.items(), reverse=True))
        said = f"{self.jobs.total():,} jobs ({count}) in {self.seconds:.0f} s, seed {self.seed}"
        lines = [f"{said}; the device was opened {self.opened} times"]
        if self.wrong:
            return "\n".join([*lines, f"WRONG: {self.wrong}"])
        grown, last = growth(self.samples), self.samples[-1]
        lines += [
            "every byte as the software model leaves it",
            f"memory {last.resident / 2**20:.1f} MiB, {grown.resident / 2**20:+.2f} last quarter over second "
            f"(at most {MEMORY_SLACK >> 20})",
            f"open files {last.files}, {grown.files:+d} last quarter over second (none)",
        ]
        return "\n".join([*lines, "FLAT" if is_flat(grown) else "NOT FLAT"])


def soak(
    open_it: Callable[[], Device],
    seconds: float,
    *,
    seed: int = 0,
    first: int = 0,
    reopen: int = 250,
    kernel: str = "numpy",
    step: Callable[[float, Soak], None] = lambda elapsed, run: None,
) -> Soak:
    """Run jobs of ``seed`` from number ``first`` on: ``WARMING``, then for so many seconds.

    The device is closed and opened again every ``reopen`` jobs, so that what opening leaves shows.
    ``step`` is told of every job.
    """
    run, number, device = Soak(seed), first, None
    start, elapsed = time.monotonic(), 0.0
    try:
        while not run.wrong and (elapsed < seconds or len(run.samples) < LEAST):
            if device is None or (number - first) % reopen == 0:
                if device is not None:
                    device.close()
                device, run.opened = open_it(), run.opened + 1
            job = drawn(config_of(device), seed, number)
            if wrong := difference(device, job, kernel):
                run.wrong = f"job {number} of seed {seed} ({job.kind} {job.broken}): {wrong}"
            run.jobs[job.kind] += 1
            number += 1
            if number - first <= WARMING:
                start = time.monotonic()
            elapsed = time.monotonic() - start
            if number - first > WARMING and (
                len(run.samples) < LEAST or elapsed >= len(run.samples) * seconds / SAMPLES
            ):
                run.samples.append(sample())
            step(elapsed, run)
    finally:
        if device is not None:
            device.close()
    run.seconds = elapsed
    return run
