# SPDX-License-Identifier: BSD-2-Clause
"""A bus over the link SpL, on which device memory goes in blocks (``docs/link.md``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ...errors import DeviceBusyError, DeviceError
from ...link import LinkBusyError, LinkClient, LinkError
from ..bus import Bus, Words

WORD = 4


class LinkBus(Bus):
    """Words over a link that executes every request once, or says that it does not know.

    Words of device memory go as blocks of whole beats; where a transfer begins or ends within a beat, the
    rest of that beat is read and written back. What the device refuses is an error of that access alone.
    After any other error, such as silence or a reset of the device, nobody knows what the device holds: every
    later access is refused.

    Parameters
    ----------
    client : to the device.
    memory : addresses of device memory on the bus.

    Raises
    ------
    DeviceBusyError : another program talks to the device.
    LinkError : nothing came, the session was lost, or the device refused the request.
    """

    def __init__(self, client: LinkClient, memory: range) -> None:
        self.name, self._client, self._memory = client.name, client, memory
        self._owner = os.getpid()
        self._failure: LinkError | None = None

    def read(self, address: int, count: int) -> Words:
        with self._guarded():
            if count and (beat := self._beat_of(address, count)):
                at = address - self._memory.start
                before, whole = _widened(at, WORD * count, beat)
                data = self._client.read_block(at - before, whole)[before:][: WORD * count]
                return data.copy().view("<u4").astype(np.uint32)
            return self._client.read(address, count)

    def write(self, address: int, words: Words) -> None:
        with self._guarded():
            if words.size and (beat := self._beat_of(address, words.size)):
                self._write_block(address - self._memory.start, words.astype("<u4").view(np.uint8), beat)
            else:
                self._client.write(address, words)

    @property
    def counts(self) -> Mapping[str, int]:
        """Packets that were sent again, and those that came and were not waited for, so far."""
        counts = Counter({"repeated": self._client.packets_repeated} | self._client.packets_ignored)
        return {kind: count for kind, count in counts.items() if count}

    def close(self) -> None:
        if os.getpid() == self._owner:
            self._client.close()

    def _write_block(self, at: int, data: np.ndarray[tuple[int], np.dtype[np.uint8]], beat: int) -> None:
        before, size = _widened(at, data.size, beat)
        behind = size - before - data.size
        parts = [data]
        if before:
            parts.insert(0, self._client.read_block(at - before, beat)[:before])
        if behind:
            parts.append(self._client.read_block(at + data.size + behind - beat, beat)[-behind:])
        self._client.write_block(at - before, np.concatenate(parts))

    def _beat_of(self, address: int, count: int) -> int:
        """Bytes of a beat if this is memory, and the device has blocks of it; else 0."""
        inside = address in self._memory and address + WORD * (count - 1) in self._memory
        return self._client.identity.beat_bytes if inside else 0

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """One owner, errors by their kinds, and no access after one that left the device unknown."""
        if os.getpid() != self._owner:
            raise DeviceError(
                f"{self.name}: opened by process {self._owner}, used by its child {os.getpid()}. A board "
                "has one user: open it in the process that uses it"
            )
        if self._failure is not None:
            raise LinkError(
                f"{self.name}: not used any more, as what the device holds is not known since this: "
                f"{self._failure}. Open the device again and start anew"
            ) from self._failure
        try:
            yield
        except LinkBusyError as error:
            self._failure = error
            raise DeviceBusyError(str(error)) from error
        except LinkError as error:
            if not _is_refusal(error):
                self._failure = error
            raise


def _is_refusal(error: LinkError) -> bool:
    """Whether the device said no within the session, so that all else is as it was."""
    return error.status is not None and type(error) is LinkError


def _widened(at: int, size: int, beat: int) -> tuple[int, int]:
    """Bytes in front of ``at`` to the beat it lies in, and bytes of all beats that are touched."""
    before = at % beat
    return before, -(-(before + size) // beat) * beat
