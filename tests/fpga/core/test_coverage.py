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


def test_a_section_takes_the_place_of_its_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for heading, body in (("Mutants", "some"), ("Coverage", "first\n\n### Lines\n"), ("Coverage", "second")):
        coverage.write_section(page, heading, body)
    text = page.read_text()
    assert text.startswith("# What the tests of the core see\n")
    assert text.endswith("\n\n## Coverage\n\nsecond\n\n## Mutants\n\nsome\n")
