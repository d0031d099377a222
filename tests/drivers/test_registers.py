# SPDX-License-Identifier: BSD-2-Clause
"""The register table, and what a device tells of itself."""

from itertools import combinations

import pytest

from spatten_drivers import PRESETS, AcceleratorConfig, Device
from spatten_drivers.fields import Word
from spatten_drivers.registers import (
    IDENTITY_MAGIC,
    REGISTERS,
    config_from_capabilities,
    identity_values,
)


def test_indices_are_consecutive_and_names_unique() -> None:
    assert [word.index for word in REGISTERS] == list(range(len(REGISTERS)))
    assert len({word.name for word in REGISTERS}) == len(REGISTERS)


@pytest.mark.parametrize("word", REGISTERS, ids=lambda word: word.name)
def test_fields_fit_and_do_not_overlap(word: Word) -> None:
    assert all(f.lsb >= 0 and f.lsb + f.width <= 32 and f.description for f in word.fields)
    assert not any(a.mask << a.lsb & b.mask << b.lsb for a, b in combinations(word.fields, 2))


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_capabilities_describe_the_whole_configuration(config: AcceleratorConfig) -> None:
    assert config_from_capabilities(identity_values(config, 1 << 20)) == config


def test_identity_spells_spat() -> None:
    assert IDENTITY_MAGIC.to_bytes(4, "little") == b"SPAT"


def test_a_device_describes_itself(device: Device) -> None:
    assert device.read_register("IDENTITY") == IDENTITY_MAGIC
    assert device.read_fields("ABI_VERSION") == {"ABI_MINOR": device.config.abi_minor, "ABI_MAJOR": 1}
    digest = device.read_register("CONFIG_DIGEST_HI") << 32 | device.read_register("CONFIG_DIGEST_LO")
    assert digest == device.config.digest
    values = device.read_fields("ABI_VERSION")
    for i in range(4):
        values |= device.read_fields(f"CAPABILITY_{i}")
    assert config_from_capabilities(values) == device.config
    assert device.read_register("MEMORY_BYTES") == device.memory_bytes
