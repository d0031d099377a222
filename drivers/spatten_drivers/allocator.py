# SPDX-License-Identifier: BSD-2-Clause
"""First-fit allocation of device memory."""

from __future__ import annotations

from .errors import DeviceMemoryError
from .planes import padded


class Allocator:
    """Hands out aligned regions of the ``size`` bytes of device memory from ``start`` on, an aligned address.

    Neighbouring free regions are merged.
    """

    def __init__(self, size: int, alignment: int, start: int = 0) -> None:
        self.size, self.alignment = size, alignment
        self._free = [(start, size)]
        self._taken: dict[int, int] = {}

    @property
    def bytes_taken(self) -> int:
        return sum(self._taken.values())

    def take(self, size: int) -> int:
        """The address of ``size`` bytes.

        Raises
        ------
        DeviceMemoryError : no free region is long enough.
        """
        length = max(self.alignment, padded(size, self.alignment))
        for i, (start, room) in enumerate(self._free):
            if room >= length:
                self._free[i : i + 1] = [(start + length, room - length)] if room > length else []
                self._taken[start] = length
                return start
        raise DeviceMemoryError(
            f"no room for {size:,} bytes: {self.bytes_taken:,} of {self.size:,} are taken. Free sequences "
            "that are done, shorten the input or use fewer beams"
        )

    def give(self, start: int) -> None:
        """Free the region at ``start``; an address never taken raises :class:`DeviceMemoryError`."""
        if start not in self._taken:
            raise DeviceMemoryError(
                f"address {start:#x} was not taken from this memory; free each buffer once"
            )
        self._free = _merged([*self._free, (start, self._taken.pop(start))])


def _merged(regions: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, length in sorted(regions):
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + length)
        else:
            merged.append((start, length))
    return merged
