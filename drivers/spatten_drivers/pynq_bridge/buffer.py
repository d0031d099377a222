# SPDX-License-Identifier: BSD-2-Clause
"""``pynq.allocate``'s buffer over ours: the same host bytes, the same place in device memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from pynq.buffer import PynqBuffer

from ..buffer import allocate
from ..errors import DeviceError

COPY = "this array is a copy, not part of a device buffer; sync the buffer or a slice of it"


class MirrorBuffer(PynqBuffer):  # type: ignore[misc]  # pynq has no types
    """A ``PynqBuffer`` that mirrors device memory, freed at the latest when it and its slices are forgotten.

    Unlike with PYNQ's own, a slice with gaps moves its own bytes and none between them, a copy knows that it
    has no device address, and freeing twice is harmless.
    """

    _owns = False
    coherent: bool | None  # None: a copy

    def __array_finalize__(self, source: Any) -> None:
        super().__array_finalize__(source)
        if self.coherent is not None and self.size and not np.may_share_memory(self, self.bo):
            self.device_address = self.coherent = None  # a copy: PYNQ would give it some address

    def freebuffer(self) -> None:
        """Give the device memory back; the host array stays."""
        if self._owns:
            self.bo.freebuffer()

    def flush(self) -> None:
        """Copy this array's or slice's bytes from host to device memory."""
        for part in _contiguous_parts(self):
            PynqBuffer.flush(part)

    def invalidate(self) -> None:
        """Copy this array's or slice's bytes from device memory to the host."""
        for part in _contiguous_parts(self):
            PynqBuffer.invalidate(part)


def mirror(pynq_device: Any, shape: int | tuple[int, ...], dtype: DTypeLike) -> MirrorBuffer:
    """Allocate on the device behind a ``pynq.Device``; ``bo``, its handle, is our buffer's bytes."""
    sizes = (shape,) if isinstance(shape, int) else shape
    twin = allocate(np.dtype(dtype).itemsize * math.prod(sizes), "u1", pynq_device.spatten)
    buffer = MirrorBuffer(
        sizes,
        dtype,
        buffer=twin,
        device=pynq_device,
        device_address=twin.device_address,
        bo=twin,
        coherent=False,
    )
    buffer._owns = True
    return buffer


def _contiguous_parts(array: MirrorBuffer) -> Iterator[MirrorBuffer]:
    """The largest slices without gaps, so that what is between them stays as it is."""
    if array.coherent is None:
        raise DeviceError(COPY)
    if array.flags.c_contiguous:
        yield from [array] if array.size else []
        return
    lead, rest = 0, array
    while not rest.flags.c_contiguous:
        lead, rest = lead + 1, rest[0] if rest.ndim > 1 else rest[:1]
    for *outer, last in itertools.product(*map(range, array.shape[:lead])):
        yield array[(*outer, last if lead < array.ndim else slice(last, last + 1))]
