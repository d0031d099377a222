# SPDX-License-Identifier: BSD-2-Clause
"""docs/driver.md says what the code does."""

import re
from pathlib import Path

import pytest

from spatten_drivers import PRESETS, errors
from spatten_drivers.devices import discovery, verilator
from spatten_drivers.devices.litex.opening import BUSES, DEFAULTS

PAGE = (Path(__file__).parents[2] / "docs" / "driver.md").read_text("utf-8")
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("uri", ["emulator?memory=16MiB&kernel=numpy", "verilator?preset=small&door=back"])
def test_the_first_program_runs(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten lines, and the same numbers whatever the device."""
    assert len(PROGRAM.strip().splitlines()) - PROGRAM.count("import") <= 10
    exec(PROGRAM.replace('"emulator"', f'"{uri}"'), {})
    kept = [int(number) for number in re.findall(r"\d+", capsys.readouterr().out)]
    exec(PROGRAM, {})
    assert kept == [int(number) for number in re.findall(r"\d+", capsys.readouterr().out)]
    assert len(kept) == 20


def test_every_error_stands_in_the_table() -> None:
    table = PAGE.partition("## What each error means")[2]
    known = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert set(re.findall(r"`(\w+Error)`", table)) - {"SpattenError"} == known - {"SpattenError"}


def test_every_kind_of_device_and_link_stands_there() -> None:
    table = PAGE.partition("| uri |")[2].partition("\n\n")[0]
    uris = re.findall(r"^\| `([^`]*)`", table, re.MULTILINE)
    assert {re.split(r"[:?]", uri)[0] for uri in uris} == {"auto", *(kind.name for kind in discovery.KINDS)}
    assert set(re.findall(r"`litex:([\w+]+)://[^`]*`", table)) == set(BUSES)


def test_every_option_stands_there() -> None:
    assert {name for name in DEFAULTS if not re.search(rf"\b{name}=", PAGE)} == set()
    assert {name for name in {*PRESETS, *verilator.PRESETS, *verilator.DOORS} if f"`{name}`" not in PAGE} <= {
        "front",  # stands as door=front
        "ecp5-85f",
    }
