# SPDX-License-Identifier: BSD-2-Clause
"""docs/boards-link.md says what the code does."""

import re
from pathlib import Path

from spatten_drivers import errors
from tests.drivers.devices.litex.campaign import ROWS

PAGE = (Path(__file__).parents[4] / "docs" / "boards-link.md").read_text("utf-8")


def test_its_errors_exist() -> None:
    named = set(re.findall(r"`(\w+Error)`", PAGE))
    assert {name for name in named if not issubclass(getattr(errors, name), errors.DeviceError)} == set()


def test_its_rows_are_those_of_the_campaign() -> None:
    rows = re.findall(r"^\| (.*?) \| ([\d,]+) \| [\d,]+ \| [\d,]+ \| 0 \|$", PAGE, re.MULTILINE)
    assert rows == [(what, f"{transfers:,}") for what, (_, _, transfers) in ROWS.items()]
