# SPDX-License-Identifier: BSD-2-Clause
"""docs/reliability.md names tests that are there, and says which of them are deep."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("## Soak")[0]
ROWS = re.findall(r"^\| (?!fault |---)(.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`( \(deep\))?")
#: What the page must have a row for.
FAULTS = (
    "packets lost",
    "server killed",
    "DRAM that fails its test",
    "stale `csr.json`",
    "wrong bitstream digest",
    "two processes at one board",
    "host killed in the middle of a job",
    "a job that does not end",
    "cache folder unwritable",
    "cache folder damaged",
    "full disk",
)


@cache
def found_in(path: str) -> dict[str, bool]:
    """The tests of a file, and whether each is deep."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    all_deep = any(isinstance(n, ast.Assign) and "pytest.mark.deep" in ast.unparse(n) for n in tree.body)
    return {
        node.name: all_deep or any("mark.deep" in ast.unparse(mark) for mark in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_a_row_names_tests_that_are_there(row: tuple[str, str, str, str]) -> None:
    named = TEST.findall(row[1])
    assert named
    assert TEST.sub("", row[1]).strip(", ") == ""  # nothing else stands there
    assert {name: found_in(path).get(name) for path, name, _ in named} == {
        name: bool(deep) for _, name, deep in named
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_a_row_that_every_run_tries(fault: str) -> None:
    rows = [row for row in ROWS if row[0].startswith(fault)]
    assert rows
    assert all(any(not deep for *_, deep in TEST.findall(injected)) for _, injected, *_ in rows)
