# SPDX-License-Identifier: BSD-2-Clause
"""What a driver asks of a device before it trusts it, and how it counts jobs."""

from dataclasses import replace

import pytest

from spatten_drivers import PRESETS, Accelerator, AcceleratorConfig, Device, Emulator, Quantization
from spatten_drivers.config import ABI_VERSIONS
from spatten_drivers.errors import DeviceMismatchError, DeviceTimeoutError

from ..floats import layer

NO_PRESET = AcceleratorConfig(max_heads=5)
MEMORY = 1 << 20


class Liar(Emulator):
    """An emulator whose registers read what a test wants, and that came without a manifest."""

    lies: dict[str, int]

    def __init__(self, config: AcceleratorConfig | None = None, **lies: int) -> None:
        self.lies = lies
        super().__init__(config, memory_bytes=MEMORY)

    def expected_config(self) -> None:
        return None

    def read_word(self, address: int) -> int:
        name = next(name for name, at in self.register_addresses.items() if at == address)
        return self.lies.get(name, super().read_word(address))


@pytest.mark.parametrize("minor", ABI_VERSIONS.values(), ids=ABI_VERSIONS)
def test_a_configuration_that_is_no_preset_is_read_from_the_capabilities(minor: int) -> None:
    config = replace(NO_PRESET, abi_minor=minor)
    assert Liar(config).config == config


def test_a_configuration_from_the_manifest() -> None:
    assert Emulator(NO_PRESET, memory_bytes=MEMORY).config is NO_PRESET


def test_no_core_there() -> None:
    with pytest.raises(DeviceMismatchError) as error:
        Liar(IDENTITY=0)
    assert str(error.value) == (
        "emulator: register IDENTITY reads 0x00000000, expected 0x54415053: no SpAtten core answers there. "
        "Load a SpAtten bitstream, or check the register map"
    )


@pytest.mark.parametrize(("version", "text"), [(0x20000, "2.0"), (0x00005, "0.5"), (0x10002, "1.2")])
def test_another_major_version(version: int, text: str) -> None:
    with pytest.raises(DeviceMismatchError) as error:
        Liar(ABI_VERSION=version)
    assert str(error.value) == (
        f"emulator: ABI {text}, this driver speaks 1.0 and 1.1. Load a bitstream of this release, or the "
        "driver of that one"
    )


def test_a_digest_that_belongs_to_no_configuration() -> None:
    default = AcceleratorConfig()
    with pytest.raises(DeviceMismatchError) as error:
        Liar(CONFIG_DIGEST_LO=1, CONFIG_DIGEST_HI=2)
    assert str(error.value) == (
        "emulator: configuration digest 0000000200000001 does not belong to the capabilities it reports "
        f"({default.to_dict()}, digest {default.digest:016x}). Nearest to it this driver knows "
        f"ecp5-85f, digest {default.digest:016x}; they differ in no field. Bitstream and driver are of "
        "different releases"
    )


def test_the_nearest_preset_is_of_the_version_that_the_device_speaks() -> None:
    older = replace(PRESETS["ecp5-25f"], abi_minor=0)
    with pytest.raises(DeviceMismatchError, match=f"ecp5-25f, digest {older.digest:016x}; they differ in no"):
        Liar(older, CONFIG_DIGEST_LO=1)


def test_fields_that_differ_are_named_with_both_sides() -> None:
    with pytest.raises(
        DeviceMismatchError, match=r"they differ in query_buffer_rows \(device 128, driver 64\)\."
    ):
        Liar(CONFIG_DIGEST_LO=1, CAPABILITY_3=128)


def test_capabilities_that_make_no_sense() -> None:
    with pytest.raises(DeviceMismatchError) as error:
        Liar(CONFIG_DIGEST_LO=1, CAPABILITY_3=0)
    assert str(error.value) == (
        "emulator: capability registers make no sense: AcceleratorConfig.query_buffer_rows is 0; expected 1 "
        "to 1024"
    )


def test_fields_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields of one register must be of one moment."""
    device, reads = Emulator(memory_bytes=MEMORY), []
    read_word = device.read_word
    monkeypatch.setattr(device, "read_word", lambda address: reads.append(address) or read_word(address))
    device.read_fields("STATUS")
    assert reads == [device.register_addresses["STATUS"]]


def test_str_names_the_configuration(device: Device) -> None:
    assert str(device) == f"{device.name} (config {device.config.digest:016x})"


def test_jobs_are_counted_across_the_wrap() -> None:
    device = Emulator(memory_bytes=MEMORY)
    device._set("JOBS_DONE", (1 << 32) - 2)
    device.identify()
    driver, data = Accelerator(device), layer(device, Quantization.static(8), tokens=4)
    tickets = [driver.submit(data.sequence, data.request()) for _ in range(4)]
    assert [ticket.number for ticket in tickets] == [(1 << 32) - 1, 0, 1, 2]
    for ticket in tickets:
        assert driver.wait(ticket).answer.fields["job_id"] == ticket.job["job_id"]
    assert device.read_register("JOBS_DONE") == 2


def test_waiting_for_a_job_that_was_never_pushed() -> None:
    device = Emulator(memory_bytes=MEMORY)
    device.wait_for_jobs(0, timeout=0.0)
    with pytest.raises(DeviceTimeoutError, match=r"^emulator: job 1 not done within 0.01 s: JOBS_DONE 0, "):
        device.wait_for_jobs(1, timeout=0.01)
