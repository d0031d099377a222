# SPDX-License-Identifier: BSD-2-Clause
"""The bus of a system on chip as a host reaches it: 32-bit words at byte addresses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]


class Bus(ABC):
    """Whatever carries words to a system on chip and back: a simulator's pins, a network, a serial line.

    Any failure raises a :class:`~spatten_drivers.errors.DeviceError`; data is never invented.

    Attributes
    ----------
    name : of the bus in messages, such as ``verilator`` or ``etherbone 192.168.1.50:1234``.
    """

    name: str

    @abstractmethod
    def read(self, address: int, count: int) -> Words:
        """``count`` consecutive words from byte ``address`` on, a multiple of 4."""

    @abstractmethod
    def write(self, address: int, words: Words) -> None:
        """Write consecutive words from byte ``address`` on, a multiple of 4."""

    def close(self) -> None:
        """Release what the bus holds; closing twice is harmless."""
