# SPDX-License-Identifier: BSD-2-Clause
"""The page and the code say the same."""

from pathlib import Path

from spatten_drivers.contract_tables import renewed
from spatten_drivers.link.format import LONGEST, MAX_WORDS, UDP_PORT, VERSION, Operation, Packet
from spatten_drivers.link.tables import SECTIONS

PAGE = (Path(__file__).parents[3] / "docs" / "link.md").read_text()


def test_the_generated_tables_are_up_to_date() -> None:
    """If this fails: python -m spatten_drivers.link.tables docs/link.md."""
    assert renewed(PAGE, SECTIONS) == PAGE
    for name in SECTIONS:
        assert PAGE.count(f"<!-- {name} -->") == PAGE.count(f"<!-- end {name} -->") == 1


def test_numbers_in_the_text() -> None:
    assert f"Version **{VERSION}**" in PAGE
    assert f"UDP port {UDP_PORT}" in PAGE
    assert f"at most {MAX_WORDS} words" in PAGE
    assert f"{LONGEST} bytes" in PAGE


def test_the_example_packet() -> None:
    """Bytes of the page, to test another implementation with."""
    packet = Packet(Operation.WRITE, 0x12345678, 7, 0xF0001000, 1, (1).to_bytes(4, "little"))
    assert packet.encode().hex(" ", 4) in PAGE
