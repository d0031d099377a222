# SPDX-License-Identifier: BSD-2-Clause
"""Memory and open files of this process over time, and whether they stay flat."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median

#: Resident memory may differ by this between two quarters of a run: less than a page a job in any real run.
MEMORY_SLACK = 4 << 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LEAST = 8  # samples, two a quarter


@dataclass(frozen=True)
class Sample:
    """Resident bytes and open files of this process, children not counted."""

    resident: int
    files: int


def sample() -> Sample:
    """Now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(pages * PAGE_BYTES, len(os.listdir("/proc/self/fd")) - 1)  # one is that of the list itself


def growth(samples: list[Sample]) -> Sample:
    """The last quarter of a run over the second: the first is warming up. Medians, as single samples jump."""
    if len(samples) < LEAST:
        raise ValueError(f"{len(samples)} samples; expected {LEAST} or more to compare quarters of a run")
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    return Sample(
        round(median(s.resident for s in last) - median(s.resident for s in second)),
        round(median(s.files for s in last) - median(s.files for s in second)),
    )


def is_flat(grown: Sample) -> bool:
    """No more than the slack of memory, and not one open file."""
    return grown.resident <= MEMORY_SLACK and grown.files <= 0
