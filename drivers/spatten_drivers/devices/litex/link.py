# SPDX-License-Identifier: BSD-2-Clause
"""One request and its answer over a LiteX bridge, without any patience: that is the checked bus's part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import LinkError
from ...link.channel import Channel

Words = NDArray[np.uint32]
NOTHING: Words = np.zeros(0, np.uint32)


class Exchange(NamedTuple):
    """Write ``words`` from byte address ``base`` on, then read the words at ``reads`` in their order."""

    base: int = 0
    words: Words = NOTHING
    reads: Words = NOTHING


class NoAnswer(LinkError):
    """No valid answer in time; the request may have been lost, be under way still, or its answer lost."""


class Link(ABC):
    """A bridge to the bus of a system on chip.

    Attributes
    ----------
    name : of the link in messages.
    max_words : most words that one exchange carries, those written and those read together.
    max_writes : most words that one exchange writes.
    max_copies : times that a short read asks for every word; a long one asks twice.
    resends_writes : whether a request that is lost leaves nothing behind, so that a write can be sent again.
        Where it cannot, a lost byte turns the ones behind it into something else.
    lifetime : seconds that a packet may be under way, or be repeated by the network after it had its answer.
    first_timeout : seconds that an answer may take at first; later attempts wait longer.
    counts : what was detected so far, by kind: ``lost``, ``late``, ``duplicate``, ``foreign``, ``malformed``,
        and by the checked bus ``disagreed``.
    """

    name: str
    max_words: int
    max_writes: int
    max_copies: int
    resends_writes: bool
    first_timeout: float
    lifetime: float
    counts: Counter[str]
    _channel: Channel

    @abstractmethod
    def exchange(self, request: Exchange, timeout: float) -> Words:
        """The words read; their number is that of the reads.

        Raises
        ------
        NoAnswer : nothing valid came within ``timeout`` seconds.
        LinkDamageError : an answer shows that a request which writes was damaged.
        """

    @abstractmethod
    def settle(self) -> None:
        """Return when no request without an answer can be under way any more."""

    def sleep(self, seconds: float) -> None:
        """Let time pass on the link's clock."""
        self._channel.sleep(seconds)

    def now(self) -> float:
        """Seconds of the link's clock."""
        return self._channel.now()

    def close(self) -> None:
        """Give the channel back; closing twice is harmless."""
        self._channel.close()
