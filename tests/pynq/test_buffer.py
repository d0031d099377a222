# SPDX-License-Identifier: BSD-2-Clause
"""`pynq.allocate`: what a flush moves, what keeps its place, and when memory is given back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spatten_drivers import Device
from spatten_drivers.errors import DeviceError, DeviceMemoryError
from spatten_drivers.pynq_bridge import attach

pynq = pytest.importorskip("pynq")

SLICES = {
    "rows": np.s_[2:4],
    "element": np.s_[3, 4:5],
    "columns": np.s_[:, 2:5],
    "every third": np.s_[:, ::3],
    "every other row": np.s_[::2],
    "backwards": np.s_[::-1, ::-2],
    "nothing": np.s_[2:2],
}


@pytest.fixture
def buffer(view: Any) -> Any:
    """``[6, 8]`` words that count from 0, equal on both sides."""
    made = pynq.allocate((6, 8), "<u4")
    made[...] = np.arange(48).reshape(6, 8)
    made.flush()
    return made


def on_device(device: Device, buffer: Any) -> np.ndarray:
    return device.read_memory(buffer.device_address, buffer.nbytes).view("<u4").reshape(6, 8)


def test_a_pynq_buffer(buffer: Any, view: Any, device: Device) -> None:
    assert isinstance(buffer, pynq.buffer.PynqBuffer)
    assert buffer.physical_address == buffer.device_address
    assert buffer.cacheable
    assert buffer.device is view
    assert pynq.allocate(7).dtype == np.uint32
    assert pynq.allocate(7).tolist() == [0] * 7
    assert on_device(device, buffer).tolist() == np.arange(48).reshape(6, 8).tolist()


@pytest.mark.parametrize("index", SLICES.values(), ids=SLICES)
def test_a_slice_flushes_its_own_bytes(buffer: Any, device: Device, index: Any) -> None:
    buffer[...] = 999
    buffer[index].flush()
    expected = np.arange(48).reshape(6, 8)
    expected[index] = 999
    assert on_device(device, buffer).tolist() == expected.tolist()


@pytest.mark.parametrize("index", SLICES.values(), ids=SLICES)
def test_a_slice_invalidates_its_own_bytes(buffer: Any, index: Any) -> None:
    buffer[...] = 999
    buffer[index].invalidate()
    expected = np.full((6, 8), 999)
    expected[index] = np.arange(48).reshape(6, 8)[index]
    assert buffer.tolist() == expected.tolist()


def test_a_slice_keeps_its_address(buffer: Any) -> None:
    start = buffer.device_address
    assert buffer[3:5].device_address == start + 3 * 32
    assert buffer[1:][1:, 4:].device_address == start + 2 * 32 + 16
    assert buffer.view(np.uint8)[0, 5:].device_address == start + 5
    assert buffer.reshape(-1)[9:].device_address == start + 36
    assert buffer.T[1:].device_address == start + 4


def test_a_missing_flush_is_poison_in_debug_mode(buffer: Any, device: Device) -> None:
    """As it would be stale on a board with caches."""
    buffer[0, 0] = 0x11223344
    device.push_job(0xFFFFFFF0, 1)
    device.read_register("JOBS_DONE")
    assert on_device(device, buffer)[0, 0] == 0xA5A5A5A5


@pytest.mark.parametrize("copied", [lambda b: b + 1, lambda b: b[1:].copy(), lambda b: (b + 1)[2:]])
def test_a_copy_has_no_device_address(buffer: Any, copied: Any) -> None:
    copy = copied(buffer)
    assert copy.device_address is None
    for sync in (copy.flush, copy.invalidate, copy.sync_to_device, copy.sync_from_device):
        with pytest.raises(DeviceError) as error:
            sync()
        assert str(error.value) == (
            "this array is a copy, not part of a device buffer; sync the buffer or a slice of it"
        )


def test_a_freed_buffer(buffer: Any, device: Device) -> None:
    row = buffer[1]
    buffer.freebuffer()
    buffer.freebuffer()
    assert device.allocator.bytes_taken == 0
    for part in (buffer, row):
        with pytest.raises(DeviceError) as error:
            part.flush()
        assert str(error.value) == "this buffer was freed; allocate a new one"


def test_memory_is_given_back(view: Any, device: Device) -> None:
    with pynq.allocate(100, "u1"):
        assert device.allocator.bytes_taken == 128
    assert device.allocator.bytes_taken == 0
    row = pynq.allocate((4, 64), "u1")[1]
    assert device.allocator.bytes_taken == 256  # the slice holds it
    row.flush()
    del row
    assert device.allocator.bytes_taken == 0


def test_memory_is_exhausted(view: Any, device: Device) -> None:
    with pytest.raises(DeviceMemoryError, match="no room for 1,048,577 bytes: 0 of 1,048,576 are taken"):
        pynq.allocate(device.memory_bytes + 1, "u1")


def test_memory_of_an_overlay(view: Any, device: Device, bitstream: str) -> None:
    memory = pynq.Overlay(bitstream).memory
    buffer = memory.allocate((3, 4), "f4")
    assert (memory.size, memory.base_address, memory.mem_used) == (device.memory_bytes, 0, 64)
    assert buffer.device_address == 0


def test_a_target_that_is_not_the_active_device(view: Any, bitstream: str) -> None:
    from spatten_drivers import Emulator

    other = Emulator(memory_bytes=1 << 16)
    second = attach(other)
    buffer = pynq.allocate(4, target=view)
    buffer[:] = 7
    buffer.flush()
    assert view.spatten.allocator.bytes_taken == 64
    assert other.allocator.bytes_taken == 0
    assert pynq.Overlay(bitstream, device=second).device is second
