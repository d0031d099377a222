# SPDX-License-Identifier: BSD-2-Clause
"""Whether a device is the one that was opened, and the one of a bitstream."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spatten_drivers import PRESETS, Device, Emulator
from spatten_drivers.errors import DeviceMismatchError
from spatten_drivers.pynq_bridge.identity import check_bitstream, check_identity


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(PRESETS["ecp5-25f"], memory_bytes=1 << 16)


def test_a_device_is_itself(device: Device) -> None:
    check_identity(device)


@pytest.mark.parametrize(
    ("register", "value", "field", "was"),
    [
        ("IDENTITY", 0, "IDENTITY reads 0x0", 0x54415053),
        ("CONFIG_DIGEST_LO", 1, "CONFIG_DIGEST_LO reads 0x1", PRESETS["ecp5-25f"].digest & 0xFFFFFFFF),
        ("CAPABILITY_3", 7, "QUERY_BUFFER_ROWS reads 0x7", PRESETS["ecp5-25f"].query_buffer_rows),
        ("MEMORY_BYTES", 64, "MEMORY_BYTES reads 0x40", 1 << 16),
    ],
)
def test_a_device_that_changed(emulator: Emulator, register: str, value: int, field: str, was: int) -> None:
    emulator._set(register, value)
    with pytest.raises(DeviceMismatchError) as error:
        check_identity(emulator)
    assert str(error.value) == (
        f"emulator is not the device that was opened: {field}, was opened as {was:#x}. Open it again after "
        "another bitstream was loaded"
    )


def test_a_bitstream_without_a_manifest(emulator: Emulator, tmp_path: Path) -> None:
    check_bitstream(tmp_path / "spatten.bit", emulator)


def test_a_bitstream_of_the_devices_configuration(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"config": emulator.config.to_dict(), "abi": "1.1"}))
    check_bitstream(tmp_path / "spatten.bit", emulator)


def test_a_bitstream_of_another_configuration(emulator: Emulator, tmp_path: Path) -> None:
    other = replace(PRESETS["ecp5-85f"], abi_minor=0)
    (tmp_path / "manifest.json").write_text(json.dumps({"config": other.to_dict(), "abi": "1.0"}))
    with pytest.raises(DeviceMismatchError) as error:
        check_bitstream(tmp_path / "spatten.bit", emulator)
    message = str(error.value)
    assert message.startswith(f"spatten.bit (config {other.digest:016x}) is not for {emulator}: ")
    for name, (theirs, ours) in other.differences(emulator.config).items():
        assert f"{name} is {theirs} in the bitstream and {ours} on the device" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSONDecodeError Expecting value"),
        ("{}", "KeyError 'config'"),
        ("[]", "TypeError list indices"),
        ('{"config": {"lanes": 64}, "abi": "1.0"}', "ConfigError configuration record differs"),
    ],
)
def test_a_manifest_that_is_none(emulator: Emulator, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DeviceMismatchError) as error:
        check_bitstream(tmp_path / "spatten.bit", emulator)
    place = tmp_path / "manifest.json"
    assert str(error.value).startswith(f"{place}: no manifest of a SpAtten bitstream: {reason}")
    assert str(error.value).endswith("Give a bitstream with the manifest.json that was written with it")
