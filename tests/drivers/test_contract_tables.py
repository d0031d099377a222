# SPDX-License-Identifier: BSD-2-Clause
"""The page and the code say the same."""

from pathlib import Path

from spatten_drivers.config import ABI_MAJOR, ABI_MINOR
from spatten_drivers.contract_tables import SECTIONS, renewed

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()


def test_the_generated_tables_are_up_to_date() -> None:
    """If this fails: python -m spatten_drivers.contract_tables docs/contract.md."""
    assert renewed(PAGE) == PAGE


def test_every_table_is_on_the_page_once() -> None:
    for name in SECTIONS:
        assert PAGE.count(f"<!-- {name} -->") == 1
        assert PAGE.count(f"<!-- end {name} -->") == 1


def test_a_stale_table_is_renewed() -> None:
    stale = PAGE.replace("| 7 | 7:0 | `head_dim` |", "| 7 | 6:0 | `head_dim` |")
    assert stale != PAGE
    assert renewed(stale) == PAGE


def test_the_version_of_the_page() -> None:
    assert f"ABI version **{ABI_MAJOR}.{ABI_MINOR}**" in PAGE
