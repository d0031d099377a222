# SPDX-License-Identifier: BSD-2-Clause
"""What the host knows of device memory, so that only changes are recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .footprint import Runs, merged

#: Bytes and where they lie.
Pieces = list[tuple[int, NDArray[np.uint8]]]

#: Equal bytes between two changes that are recorded along, because a run of its own costs more.
_GAP = 16


class Mirror:
    """A copy of device memory, and which of its bytes are known to be right.

    Bytes are known once the host wrote or read them; what a job left is known if it was read back. The host's
    memory is taken only as pages are touched.
    """

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.uint8)
        self._known = np.zeros(size, bool)

    def learn(self, address: int, data: NDArray[np.uint8]) -> Runs:
        """Take over bytes; answers the runs that are news."""
        place = slice(address, address + data.size)
        news = np.flatnonzero((self.memory[place] != data) | ~self._known[place])
        self.memory[place], self._known[place] = data, True
        return address + _grouped(news, _GAP)

    def forget(self, address: int, size: int) -> None:
        """These bytes are not known any more."""
        self._known[address : address + size] = False

    def unknown(self, runs: Runs) -> Runs:
        """The parts of ``runs`` that are not known."""
        found = [np.empty((0, 2), np.int64)]
        for start, end in runs.tolist():
            if not self._known[start:end].all():
                found.append(start + _grouped(np.flatnonzero(~self._known[start:end]), 0))
        return np.concatenate(found)

    def pieces(self, runs: Runs) -> Pieces:
        """The bytes of ``runs``, neighbours together."""
        return [(start, self.memory[start:end].copy()) for start, end in merged(runs).tolist()]


def _grouped(places: NDArray[np.intp], gap: int) -> Runs:
    """Ascending places as runs; those with at most ``gap`` others between them share one."""
    if not places.size:
        return np.empty((0, 2), np.int64)
    breaks = np.flatnonzero(places[1:] - places[:-1] > gap + 1)
    runs = np.empty((len(breaks) + 1, 2), np.int64)
    runs[0, 0], runs[-1, 1] = places[0], places[-1] + 1
    runs[1:, 0], runs[:-1, 1] = places[breaks + 1], places[breaks] + 1
    return runs
