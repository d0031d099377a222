# SPDX-License-Identifier: BSD-2-Clause
"""Debug mode of the emulator: a missing ``sync`` shows, as it would on a board with caches."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..buffer import Allocation, Buffer

#: What the device reads where the host wrote without ``sync_to_device``.
DEVICE_POISON = 0xA5
#: What the host reads where the device wrote and ``sync_from_device`` was not called.
HOST_POISON = 0x5A


class PoisonGuard:
    """Compares each buffer's two sides around a job and poisons what was not synchronised.

    Before a job, bytes that the host changed and did not sync become :data:`DEVICE_POISON` in device memory.
    After it, bytes that the job changed become :data:`HOST_POISON` on the host, until they are synced back.
    """

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory
        self._hosts: weakref.WeakKeyDictionary[Allocation, NDArray[np.uint8]] = weakref.WeakKeyDictionary()
        self._before: list[tuple[slice, NDArray[np.uint8], NDArray[np.uint8]]] = []

    def adopt(self, buffer: Buffer) -> None:
        """Watch a new buffer; its device side starts poisoned, since nothing was synced yet."""
        assert buffer._home is not None
        raw: NDArray[Any] = buffer.view(np.ndarray)
        self._hosts[buffer._home] = raw.reshape(-1).view(np.uint8)
        self._memory[self._region(buffer._home)] = DEVICE_POISON

    def before_job(self) -> None:
        """Poison what the device would read stale, and remember memory to see what the job writes."""
        self._before = []
        for home, host in self._hosts.items():
            if not home.alive:
                continue  # given back, though somebody still holds the array: the memory may be another's
            region = self._region(home)
            device = self._memory[region]
            device[(host != device) & (host != HOST_POISON)] = DEVICE_POISON
            self._before.append((region, host, device.copy()))

    def after_job(self) -> None:
        """Poison the host's side of every byte the job changed."""
        for region, host, before in self._before:
            host[self._memory[region] != before] = HOST_POISON

    @staticmethod
    def _region(home: Allocation) -> slice:
        return slice(home.start, home.start + home.size)
