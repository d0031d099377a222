# SPDX-License-Identifier: BSD-2-Clause
"""The map that LiteX writes beside a bitstream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spatten_drivers.devices import CsrMap
from spatten_drivers.errors import DeviceMismatchError
from tests.drivers.devices.soc_bus import csr_record


def test_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "csr.json"
    path.write_text(json.dumps(csr_record(1 << 20)))
    found = CsrMap.load(path)
    assert found.address("ctrl_bus_errors") == 8
    assert found.sizes["ctrl_bus_errors"] == 1
    assert found.memory("main_ram") == (0x4000_0000, 1 << 20)
    assert found.bases == {"ctrl": 0, "spatten": 0x1800}
    assert found.constants == {"config_clock_frequency": 75000000}


def test_a_name_that_is_missing() -> None:
    found = CsrMap.from_record(csr_record(1 << 20), "old/csr.json")
    with pytest.raises(DeviceMismatchError) as error:
        found.address("spatten_speed")
    assert str(error.value).startswith(
        "old/csr.json: has no register 'spatten_speed'; it has ctrl_bus_errors"
    )
    with pytest.raises(
        DeviceMismatchError, match=r"has no memory 'rom'; it has main_ram\. Give the csr.json"
    ):
        found.memory("rom")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON: Expecting value"),
        ("[1]", "no register map of LiteX: TypeError"),
        ('{"csr_registers": {"a": {"addr": 0}}}', "no register map of LiteX: KeyError 'size'"),
        ("{}", "no register map of LiteX: KeyError 'csr_registers'"),
    ],
)
def test_files_that_are_no_map(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "csr.json"
    path.write_text(text)
    with pytest.raises(DeviceMismatchError) as error:
        CsrMap.load(path)
    assert str(error.value).startswith(f"{path}: {reason}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DeviceMismatchError, match=r"cannot be read: No such file .*is loaded"):
        CsrMap.load(tmp_path / "csr.json")
