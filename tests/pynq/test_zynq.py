# SPDX-License-Identifier: BSD-2-Clause
"""Our driver on PYNQ: the code for Zynq boards, in a loop driver -> PYNQ -> our `pynq.Device` -> emulator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Accelerator, Device, Emulator, Quantization, allocate, open_device
from spatten_drivers.devices.zynq import ZynqDevice
from spatten_drivers.errors import DeviceError, DeviceMemoryError, DeviceMismatchError
from spatten_drivers.pynq_bridge import attach
from tests.drivers.floats import layer
from tests.model.make_vectors import FOLDER

from .golden import emulator_for

pynq = pytest.importorskip("pynq")


@pytest.fixture
def loop(view: Any, bitstream: str) -> Iterator[Device]:
    """The device, through PYNQ; its region lies behind a buffer of somebody else."""
    with pynq.allocate(1000, "u1"), open_device(f"pynq:{bitstream}?memory=512KiB") as opened:
        yield opened


def test_what_it_is(loop: Device, device: Device, bitstream: str) -> None:
    assert isinstance(loop, ZynqDevice)
    assert str(loop) == f"pynq {device}"
    assert loop.config == device.config
    assert loop.memory_bytes == device.memory_bytes
    assert loop.register_addresses == device.register_addresses
    assert not loop.is_board
    with pytest.raises(DeviceError, match="a board is required"):
        open_device(f"pynq:{bitstream}?memory=64KiB", require_board=True)


@pytest.mark.parametrize("quantization", [Quantization.static(8), Quantization.progressive()])
def test_a_layer_gives_the_emulators_bits(loop: Device, quantization: Quantization) -> None:
    results = []
    for device in (loop, Emulator(memory_bytes=1 << 20)):
        data = layer(device, quantization, tokens=24)
        results.append(Accelerator(device).attend(data.sequence, data.request(keep_tokens=9, keep_heads=1)))
    through_pynq, alone = results
    assert through_pynq.output.tobytes() == alone.output.tobytes()
    assert through_pynq.tokens.tolist() == alone.tokens.tolist()
    assert through_pynq.answer.counters == alone.answer.counters


def test_a_golden_vector(bitstream: str) -> None:
    """All the way to the last byte; the vector's addresses count from 0, where the region lies."""
    attach(emulator_for("paper_96.npz"))
    vector = np.load(FOLDER / "paper_96.npz")
    image = vector["memory_before"]
    with ZynqDevice(bitstream, image.size // 64 * 64) as loop:
        loop.write_memory(0, image)
        loop.wait_for_jobs(loop.push_job(int(vector["descriptor_address"]), 10), 10)
        after = loop.read_memory(0, image.size)
    assert hashlib.sha256(after.tobytes()).hexdigest() == str(vector["memory_after_sha256"])


def test_buffers_come_from_the_region(view: Any, bitstream: str, device: Device) -> None:
    before = pynq.allocate(1000, "u1")
    loop = open_device(f"pynq:{bitstream}?memory=64KiB")
    buffer = allocate(100, "u1", loop)
    assert buffer.device_address == 1024
    buffer[:] = 9
    buffer.sync_to_device()
    assert device.read_memory(1024, 100).tolist() == [9] * 100
    with pytest.raises(DeviceMemoryError, match="no room for 65,536 bytes: 128 of 65,536 are taken"):
        allocate(65536, "u1", loop)
    for address, size in ((1020, 8), (1024 + 65536, 1), (1024, 65537)):
        with pytest.raises(DeviceMemoryError) as error:
            loop.read_memory(address, size)
        assert str(error.value) == (
            f"pynq emulator: access of {size} bytes at {address:#x}; this program's region is 0x400 to "
            "0x10400"
        )
    assert loop.read_memory(1024, 0).size == 0
    loop.close()
    loop.close()
    before.freebuffer()
    assert device.allocator.bytes_taken == 0


def test_a_region_that_does_not_fit(view: Any, bitstream: str) -> None:
    with pytest.raises(
        DeviceMemoryError, match=r"^pynq emulator: no contiguous region of 67,108,864 bytes: "
    ):
        open_device(f"pynq:{bitstream}")


def test_a_region_that_the_core_does_not_reach(
    view: Any, bitstream: str, device: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated = pynq.allocate(64, "u1")
    monkeypatch.setattr(pynq, "allocate", lambda *_, **__: allocated)
    monkeypatch.setattr(allocated, "device_address", device.memory_bytes)
    with pytest.raises(DeviceMemoryError) as error:
        open_device(f"pynq:{bitstream}?memory=64KiB")
    assert str(error.value) == (
        "pynq emulator: the region from 0x100000 ends behind the core's memory of 0x100000 bytes. Give a "
        "smaller one, pynq:path.bit?memory=16MiB"
    )


def test_no_bitstream() -> None:
    with pytest.raises(DeviceError) as error:
        open_device("pynq:/nowhere/spatten.bit")
    assert str(error.value) == (
        "bitstream '/nowhere/spatten.bit' does not exist; expected the path of a .bit file with its .hwh "
        "beside it. Build your own: no Zynq bitstream ships with this release"
    )
    with pytest.raises(DeviceError) as error:
        open_device("pynq")
    assert str(error.value) == (
        "pynq needs the path of a bitstream, pynq:path.bit: no Zynq bitstream ships with this release"
    )


def test_no_board(bitstream: str) -> None:
    """A file alone is none; what PYNQ says is passed on."""
    with pytest.raises(DeviceError) as error:
        open_device(f"pynq:{bitstream}")
    assert str(error.value) == (
        f"PYNQ does not load {bitstream!r}: No Devices Found. Run this on a PYNQ board as root with XRT "
        "sourced, name one with PYNQ_REMOTE_DEVICES, or attach() a device first"
    )


def test_an_overlay_without_the_core(view: Any, bitstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatten_drivers.pynq_bridge.metadata.CORE", "dma")
    describe = view.get_bitfile_metadata

    def other_block(name: str, partial: bool = False) -> Any:
        found = describe(name, partial)
        found.ip_dict["dma"]["type"] = "xilinx.com:ip:axi_dma:7.1"
        return found

    monkeypatch.setattr(view, "get_bitfile_metadata", other_block)
    with pytest.raises(DeviceMismatchError) as error:
        open_device(f"pynq:{bitstream}")
    assert str(error.value) == (
        f"{bitstream}: holds 0 IP blocks of type spatten:core:1.0, expected one; its blocks are "
        "{'dma': 'xilinx.com:ip:axi_dma:7.1'}. Load a SpAtten bitstream, and see that the .hwh is the one "
        "written with it"
    )


def test_a_core_of_another_release(view: Any, bitstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteX writes names in lower case; a register too few is told."""
    describe = view.get_bitfile_metadata

    def older(name: str, partial: bool = False) -> Any:
        found = describe(name, partial)
        registers = found.ip_dict["spatten"]["registers"]
        lower = {key.lower(): value for key, value in registers.items() if key != "WATCHDOG"}
        found.ip_dict["spatten"]["registers"] = lower
        return found

    monkeypatch.setattr(view, "get_bitfile_metadata", older)
    with pytest.raises(
        DeviceMismatchError, match=r"its core has no registers \['WATCHDOG'\]; it has \['identity'"
    ):
        open_device(f"pynq:{bitstream}")


def test_the_manifest_of_another_configuration(view: Any, bitstream: str) -> None:
    Path(bitstream).with_name("manifest.json").write_text("{}")
    with pytest.raises(
        DeviceMismatchError, match=r"manifest.json: no manifest of a SpAtten bitstream: KeyError"
    ):
        open_device(f"pynq:{bitstream}")
