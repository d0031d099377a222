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
#: A bus writes words; part of one costs a read before.
_WORD = 4


class Mirror:
    """A copy of device memory, and which of its bytes are known to be right.

    Bytes are known once the host wrote or read them; what a job left is known if it was read back. The host's
    memory is taken only as pages are touched.
    """

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size, np.uint8)
        self._known = np.zeros(size, bool)

    def learn(self, address: int, data: NDArray[np.uint8]) -> Runs:
        """Take over bytes; answers the runs that are news, in whole words where the bytes allow it."""
        place = slice(address, address + data.size)
        news = (self.memory[place] != data) | ~self._known[place]
        self.take(address, data)
        runs = address + _runs(news, _GAP)
        runs[:, 0] = np.maximum(runs[:, 0] // _WORD * _WORD, address)
        runs[:, 1] = np.minimum(-(-runs[:, 1] // _WORD) * _WORD, address + data.size)
        return runs

    def take(self, address: int, data: NDArray[np.uint8]) -> None:
        """As :meth:`learn`, for those who do not ask what is news."""
        place = slice(address, address + data.size)
        self.memory[place], self._known[place] = data, True

    def forget(self, address: int, size: int) -> None:
        """These bytes are not known any more."""
        self._known[address : address + size] = False

    def unknown(self, runs: Runs) -> Runs:
        """The parts of ``runs`` that are not known."""
        found, places = [np.empty((0, 2), np.int64)], runs.tolist()
        if np.concatenate([self._known[:0], *(self._known[start:end] for start, end in places)]).all():
            return found[0]  # as nearly always; a job reads hundreds of rows that lie apart
        for start, end in places:
            if not self._known[start:end].all():
                found.append(start + _runs(~self._known[start:end], 0))
        return np.concatenate(found)

    def pieces(self, runs: Runs) -> Pieces:
        """The bytes of ``runs``, neighbours together."""
        return [(start, self.memory[start:end].copy()) for start, end in merged(runs).tolist()]


def _runs(chosen: NDArray[np.bool_], gap: int) -> Runs:
    """Runs of the chosen bytes; those with at most ``gap`` others between them share one."""
    fenced = np.zeros(chosen.size + 2, bool)
    fenced[1:-1] = chosen
    edges = np.flatnonzero(fenced[1:] != fenced[:-1])
    starts, ends = edges[::2], edges[1::2]
    apart = np.flatnonzero(starts[1:] - ends[:-1] > gap)
    firsts, lasts = np.append(0, apart + 1), np.append(apart, -1)
    return np.stack([starts[firsts], ends[lasts]], axis=1) if starts.size else np.empty((0, 2), np.int64)
