# SPDX-License-Identifier: BSD-2-Clause
"""One run of many jobs sees every functional point and nearly every line of the core."""

from __future__ import annotations

from pathlib import Path

from . import coverage

POINTS, LINES = 60, 0.95


def test_jobs_see_all_of_the_core() -> None:
    """One test, so that one process builds the core; its tables stay in build/ for who reads them."""
    seen = coverage.run()
    coverage.write(seen, Path("build/core-coverage.md"))
    assert seen.wrong == []
    assert seen.missed == []
    assert len(seen.bench.hits) >= POINTS
    assert seen.figures["line_coverage"] >= LINES
