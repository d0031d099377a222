# SPDX-License-Identifier: BSD-2-Clause
"""``allocate`` and its buffers, with the names and behaviour of PYNQ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import DeviceError, OperandError

if TYPE_CHECKING:
    from .devices.base import Device


class Allocation:
    """A region of device memory and the host array it mirrors; freed once, at the latest when forgotten.

    Each job takes one and gives it back, so it has nothing that costs more than it must.
    """

    alive = False  # until memory was found

    def __init__(self, device: Device, host: np.ndarray[Any, Any]) -> None:
        self.device, self.size, self.host = device, host.nbytes, host
        self._allocator = device.allocator
        self.start = self._allocator.take(host.nbytes)
        self.alive = True

    def free(self) -> None:
        """Give the region back; doing so twice is harmless."""
        if self.__dict__.pop("alive", False):  # in one step: two threads may come here
            self._allocator.give(self.start)

    __del__ = free


class Buffer(np.ndarray[Any, np.dtype[Any]]):
    """A host array with a twin in device memory; the two are equal only after a ``sync``.

    Slices keep their place: ``buffer[3:5].sync_to_device()`` moves only these rows. Results of arithmetic are
    ordinary arrays of the host.
    """

    #: A sync is needed on every device.
    coherent = False
    _home: Allocation | None = None

    def __array_finalize__(self, source: Any) -> None:
        # A slice lies in its source's allocation; a copy or a result has memory of its own, or another base.
        is_view = self.base is not None and (self.base is source or self.base is source.base)
        self._home = source._home if is_view and isinstance(source, Buffer) else None

    if TYPE_CHECKING:  # NumPy's stubs do not know that a slice is of its source's class

        def __getitem__(self, index: Any, /) -> Buffer: ...

    @property
    def device_address(self) -> int:
        """Byte offset in device memory of this array's (or slice's) first element."""
        home = self._home
        if home is None:
            raise DeviceError(
                "this array is a copy, not part of a device buffer; sync the buffer or a slice of it"
            )
        if not home.alive:
            raise DeviceError("this buffer was freed; allocate a new one")
        if self.nbytes == home.size and self.flags.c_contiguous:  # all of it, as of a job
            return home.start
        return home.start + _data_address(self) - _data_address(home.host)

    physical_address = device_address

    def sync_to_device(self) -> None:
        """Copy this array's bytes from host to device memory."""
        for address, distance, rows in self._row_blocks():
            self._device.write_rows(address, distance, rows)

    def sync_from_device(self) -> None:
        """Copy this array's bytes from device memory to the host."""
        for address, distance, rows in self._row_blocks():
            for i, row in enumerate(rows):
                row[...] = self._device.read_memory(address + i * distance, row.size)

    flush = sync_to_device
    invalidate = sync_from_device

    def freebuffer(self) -> None:
        """Give the device memory back; the host array stays. Freeing twice is harmless."""
        if self._home is not None:
            self._home.free()

    close = freebuffer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.freebuffer()

    @property
    def _device(self) -> Device:
        assert self._home is not None
        return self._home.device

    def _row_blocks(self) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """Equally spaced rows of contiguous bytes: (address, distance, host's side ``[rows, bytes]``)."""
        start, plain, home = self.device_address, self.view(np.ndarray), self._home
        assert home is not None
        if plain.flags.c_contiguous:  # nearly every transfer; the general way takes far longer
            yield start, plain.nbytes, plain.reshape(1, -1).view(np.uint8)
            return
        lead = _scattered_axes(plain)
        size = plain.itemsize * math.prod(plain.shape[lead:])
        count, distance = (plain.shape[lead - 1], plain.strides[lead - 1]) if lead else (1, size)
        for index in itertools.product(*map(range, plain.shape[: max(0, lead - 1)])):
            address = start + sum(i * stride for i, stride in zip(index, plain.strides, strict=False))
            shape, offset = (count, size), address - home.start
            yield address, distance, np.ndarray(shape, np.uint8, home.host, offset, (distance, 1))


def _scattered_axes(array: np.ndarray[Any, Any]) -> int:
    """How many leading axes have to be walked until what is left is contiguous."""
    lead, rest = 0, array
    while rest.size and not rest.flags.c_contiguous:
        lead, rest = lead + 1, rest[0]
    return lead


def _data_address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def allocate(shape: int | tuple[int, ...], dtype: DTypeLike = "u4", target: Device | None = None) -> Buffer:
    """A buffer of device memory, as ``pynq.allocate``.

    Parameters
    ----------
    shape, dtype : as of a NumPy array.
    target : the device; it must be given, there is no hidden current device.

    Raises
    ------
    DeviceMemoryError : device memory is exhausted.
    """
    if target is None:
        raise OperandError(
            "allocate() was given no target; pass the device: allocate(shape, dtype, target=device)"
        )
    host = np.zeros(shape, dtype)
    buffer = host.view(Buffer)
    buffer._home = Allocation(target, host)
    target.adopt(buffer)
    return buffer
