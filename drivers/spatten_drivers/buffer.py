# SPDX-License-Identifier: BSD-2-Clause
"""``allocate`` and its buffers, with the names and behaviour of PYNQ."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike

from .errors import DeviceError, OperandError

if TYPE_CHECKING:
    from .devices.base import Device


class Allocation:
    """A region of device memory and the host array it mirrors; freed once, at the latest when forgotten."""

    def __init__(self, device: Device, host: np.ndarray[Any, Any]) -> None:
        self.device, self.size = device, host.nbytes
        self.host_address = _data_address(host)
        self.start = device.allocator.take(host.nbytes)
        self.free = weakref.finalize(self, device.allocator.give, self.start)

    def offset_of(self, array: np.ndarray[Any, Any]) -> int | None:
        """Where ``array`` begins in this allocation, or ``None`` if it is a copy that lies elsewhere."""
        offset = _data_address(array) - self.host_address
        return offset if 0 <= offset < max(1, self.size) else None


class Buffer(np.ndarray[Any, np.dtype[Any]]):
    """A host array with a twin in device memory; the two are equal only after a ``sync``.

    Slices keep their place: ``buffer[3:5].sync_to_device()`` moves only these rows. Results of arithmetic are
    ordinary arrays of the host.
    """

    #: A sync is needed on every device.
    coherent = False
    _home: Allocation | None = None

    def __array_finalize__(self, source: Any) -> None:
        # A slice lies in its source's allocation; a copy or a result lies elsewhere and is no part of it.
        home: Allocation | None = getattr(source, "_home", None)
        self._home = None if home is None or home.offset_of(self) is None else home

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
        if not home.free.alive:
            raise DeviceError("this buffer was freed; allocate a new one")
        return home.start + _data_address(self) - home.host_address

    physical_address = device_address

    def sync_to_device(self) -> None:
        """Copy this array's bytes from host to device memory."""
        for address, part in self._parts():
            self._device.write_memory(address, part.reshape(-1).view(np.uint8))

    def sync_from_device(self) -> None:
        """Copy this array's bytes from device memory to the host."""
        for address, part in self._parts():
            part[...] = self._device.read_memory(address, part.nbytes).view(part.dtype).reshape(part.shape)

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

    def _parts(self) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """Contiguous pieces as (device address, host view)."""
        start, plain = self.device_address, self.view(np.ndarray)
        lead = _scattered_axes(plain)
        for index in np.ndindex(plain.shape[:lead]):
            offset = sum(i * stride for i, stride in zip(index, plain.strides, strict=False))
            yield start + offset, plain[(*index, ...)]


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
