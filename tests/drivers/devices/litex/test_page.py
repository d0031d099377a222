# SPDX-License-Identifier: BSD-2-Clause
"""docs/boards-link.md says what the code does."""

import re
from pathlib import Path

import pytest

from spatten_drivers import errors
from spatten_drivers.devices.litex.opening import BUSES, DEFAULTS
from tests.drivers.devices.litex.campaign import ROWS

PAGE = (Path(__file__).parents[4] / "docs" / "boards-link.md").read_text("utf-8")


def test_the_first_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(program.strip().splitlines()) - program.count("import") <= 10
    exec(
        program.replace("litex:udp://192.168.1.50?csr=build/csr.json", "emulator?memory=16MiB&kernel=numpy"),
        {},
    )
    assert len(re.findall(r"\d+", capsys.readouterr().out)) == 20


def test_its_errors_links_and_options_exist() -> None:
    named = set(re.findall(r"`(\w+Error)`", PAGE))
    assert {name for name in named if not issubclass(getattr(errors, name), errors.DeviceError)} == set()
    assert set(re.findall(r"`litex:([\w+]+)://[^`]*`", PAGE)) == set(BUSES)
    assert {name for name in DEFAULTS if not re.search(rf"\b{name}=", PAGE)} == set()


def test_its_rows_are_those_of_the_campaign() -> None:
    rows = re.findall(r"^\| (.*?) \| ([\d,]+) \| [\d,]+ \| [\d,]+ \| 0 \|$", PAGE, re.MULTILINE)
    assert rows == [(what, f"{transfers:,}") for what, (_, _, transfers) in ROWS.items()]
