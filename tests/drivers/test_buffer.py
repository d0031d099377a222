# SPDX-License-Identifier: BSD-2-Clause
"""Buffers of device memory: what a sync moves, what keeps its place, and when memory is given back."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spatten_drivers import Buffer, Device, allocate
from spatten_drivers.errors import DeviceError, DeviceMemoryError, OperandError


@pytest.fixture
def buffer(device: Device) -> Buffer:
    """``[6, 8]`` words that count from 0, equal on both sides."""
    made = allocate((6, 8), "<u4", device)
    made[...] = np.arange(48).reshape(6, 8)
    made.sync_to_device()
    return made


def on_device(device: Device, buffer: Buffer) -> np.ndarray:
    """What device memory holds where the whole buffer lies."""
    return device.read_memory(buffer.device_address, buffer.nbytes).view(buffer.dtype).reshape(buffer.shape)


def test_a_new_buffer_is_zero_and_aligned(device: Device) -> None:
    buffer = allocate(5, target=device)
    assert buffer.dtype == np.uint32
    assert buffer.tolist() == [0] * 5
    assert buffer.device_address % 64 == 0
    assert buffer.physical_address == buffer.device_address
    assert not buffer.coherent


def test_nothing_moves_without_a_sync(device: Device, buffer: Buffer) -> None:
    buffer[2, 3] = 999
    assert on_device(device, buffer)[2, 3] == 19
    buffer.sync_to_device()
    assert on_device(device, buffer)[2, 3] == 999


def test_sync_from_device(device: Device, buffer: Buffer) -> None:
    device.write_memory(buffer.device_address + 4, np.array([7], "<u4").view(np.uint8))
    assert buffer[0, 1] == 1
    buffer.sync_from_device()
    assert buffer[0, 1] == 7
    assert buffer[0, 2] == 2


def test_pynq_names(device: Device, buffer: Buffer) -> None:
    buffer[0, 0] = 5
    buffer.flush()
    buffer[0, 0] = 6
    buffer.invalidate()
    assert buffer[0, 0] == 5


def test_slices_keep_their_address(buffer: Buffer) -> None:
    start = buffer.device_address
    assert buffer[3:5].device_address == start + 3 * 32
    assert buffer[2, 1:].device_address == start + 2 * 32 + 4
    assert buffer[1:][1:][0].device_address == start + 2 * 32
    assert buffer.view(np.uint8)[0, 5:].device_address == start + 5


@pytest.mark.parametrize(
    "index",
    [
        np.s_[1:3],
        np.s_[:, 2],
        np.s_[::2],
        np.s_[1, ::3],
        np.s_[:, ::-1],
        np.s_[::-1, 1:4],
        np.s_[4, 5:6],
    ],
    ids=str,
)
def test_a_slice_syncs_its_own_bytes_only(device: Device, buffer: Buffer, index: Any) -> None:
    before = on_device(device, buffer)
    buffer[...] = 1000 + np.arange(48).reshape(6, 8)
    buffer[index].sync_to_device()
    expected = before.copy()
    expected[index] = np.asarray(buffer)[index]
    np.testing.assert_array_equal(on_device(device, buffer), expected)

    buffer[...] = 0
    buffer[index].sync_from_device()
    host = np.zeros_like(before)
    host[index] = expected[index]
    np.testing.assert_array_equal(np.asarray(buffer), host)


def test_a_transposed_buffer_syncs(device: Device, buffer: Buffer) -> None:
    buffer[...] = 7
    buffer.T.sync_to_device()
    assert (on_device(device, buffer) == 7).all()


COPIES: dict[str, Callable[[Buffer], Buffer]] = {
    "copy": lambda buffer: buffer.copy(),
    "sum": lambda buffer: buffer + 1,
    "gathered": lambda buffer: buffer[[0, 2]],
    "converted": lambda buffer: buffer.astype("u8"),
    "slice of a copy": lambda buffer: buffer.copy()[1:],
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_is_no_part_of_device_memory(buffer: Buffer, make: Callable[[Buffer], Buffer]) -> None:
    other = make(buffer)
    with pytest.raises(DeviceError) as error:
        other.sync_to_device()
    assert str(error.value) == (
        "this array is a copy, not part of a device buffer; sync the buffer or a slice of it"
    )


def test_use_after_free(buffer: Buffer) -> None:
    part = buffer[2:]
    buffer.freebuffer()
    for freed in (buffer, part):
        with pytest.raises(DeviceError, match=r"^this buffer was freed; allocate a new one$"):
            freed.sync_from_device()


def test_freeing_twice_is_harmless(device: Device, bytes_taken: Callable[[], int]) -> None:
    buffer = allocate(100, "u1", device)
    assert bytes_taken() == 128
    buffer.freebuffer()
    buffer.close()
    buffer[3:].freebuffer()
    assert bytes_taken() == 0


def test_leaving_a_with_block_frees(device: Device, bytes_taken: Callable[[], int]) -> None:
    with allocate(100, "u1", device) as buffer:
        assert bytes_taken() == 128
        assert isinstance(buffer, Buffer)
    assert bytes_taken() == 0


def test_forgetting_the_last_slice_frees(device: Device, bytes_taken: Callable[[], int]) -> None:
    buffer = allocate(100, "u1", device)
    part, copy = buffer[10:20], buffer.copy()
    del buffer
    assert bytes_taken() == 128
    del part
    assert bytes_taken() == 0
    assert copy.size == 100


def test_memory_runs_out(device: Device) -> None:
    with pytest.raises(DeviceMemoryError, match=r"^no room for "):
        allocate(device.memory_bytes + 1, "u1", device)


def test_a_target_must_be_given() -> None:
    with pytest.raises(OperandError) as error:
        allocate(4)
    assert str(error.value) == (
        "allocate() was given no target; pass the device: allocate(shape, dtype, target=device)"
    )
