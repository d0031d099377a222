# SPDX-License-Identifier: BSD-2-Clause
"""Every number of the worked example in docs/contract.md, and the page's tables against the oracle's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .oracle_config import ABI_MAJOR, ABI_MINOR
from .oracle_format import ANSWER_COUNTERS, ANSWER_FIELDS, JOB_FIELDS, Status
from .oracle_row import SEGMENTS
from .worked_example import GIVEN, STEP, STEP_FOUND, found, page_json, step_json

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()


def section(name: str) -> str:
    """The text between the page's markers of a table."""
    return PAGE.split(f"<!-- {name} -->")[1].split(f"<!-- end {name} -->")[0]


def rows_of(name: str) -> list[list[str]]:
    """The rows of a table of the page, without head and ruler."""
    lines = [line for line in section(name).splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def example(number: int = 0) -> dict[str, dict[str, object]]:
    """A JSON block of section 13."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.split("## 13.")[1], re.DOTALL)
    assert len(blocks) == 2
    return dict(json.loads(blocks[number]))


def test_page_shows_the_examples() -> None:
    """The inputs on the page are those of the script that prints the blocks."""
    assert example()["given"] == GIVEN
    assert example(1)["given"] == STEP


@pytest.mark.parametrize("name", found(GIVEN))
def test_numbers_of_the_example(name: str) -> None:
    """Each number on the page, computed again from the page's own inputs."""
    page = example()
    assert page["found"][name] == found(page["given"])[name]


@pytest.mark.parametrize("name", STEP_FOUND)
def test_numbers_of_the_step(name: str) -> None:
    """The same of the second job, whose other inputs are those of the first."""
    page = example(1)
    assert page["found"][name] == found(example()["given"] | page["given"])[name]


def test_printed_blocks_are_the_page() -> None:
    """Running the script again changes nothing."""
    assert f"```json\n{page_json()}\n```" in PAGE
    assert f"```json\n{step_json()}\n```" in PAGE


def place(word: str, bits: str) -> tuple[int, int, int]:
    """(word, highest bit, lowest bit) from the two cells of a row."""
    high, low = bits.split(":")
    return int(word), int(high), int(low)


def test_descriptor_table() -> None:
    """The oracle's fields are the page's."""
    assert {field: place(word, bits) for word, bits, field, _ in rows_of("job")} == JOB_FIELDS


def test_answer_table() -> None:
    """Words and counters of the answer are the page's."""
    rows = rows_of("answer")
    single = {field: place(word, bits) for word, bits, field, _ in rows if "," not in word}
    double = {field: int(word.split(",")[0]) for word, bits, field, _ in rows if "," in word}
    assert single == ANSWER_FIELDS
    assert double == ANSWER_COUNTERS


def test_status_table() -> None:
    """Names and numbers of the page."""
    assert {name: int(number) for number, name, _ in rows_of("status")} == {s.name: s.value for s in Status}


def test_segments_and_version() -> None:
    """The 65 points of `T`, and the ABI version."""
    assert [int(n) for n in re.findall(r"\d+", section("segments"))] == SEGMENTS
    assert f"ABI version **{ABI_MAJOR}.{ABI_MINOR}**" in PAGE
