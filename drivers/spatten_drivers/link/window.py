# SPDX-License-Identifier: BSD-2-Clause
"""Several requests in flight: which packet to send next, and when all of them have ended.

Pure bookkeeping: it sends nothing and knows no clock. The device executes requests in order only, so what it
says of one request says something of all before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from .format import Packet, Status

_SPAN = 1 << 32


class Window:
    """Requests on their way.

    Requests are numbered when they are first sent, and a number never carries anything else later. All but
    the first are chained: ``OK`` of one says that all before it ended so. An answer with data that was lost
    is asked for anew under a new number, which is harmless for memory: a window is not for reads of a bus.

    Parameters
    ----------
    requests : operation, address, count and payload of each; numbers and flags are set here.
    session, first : the session, and the number of the first request.
    size : most requests in flight.
    wants_data : each answer is needed, not only to know that the request ended.

    Attributes
    ----------
    payloads : of the answers, request by request; ``None`` while there is none.
    repeated : packets that were sent under a number that had been sent before.
    """

    def __init__(
        self, requests: Sequence[Packet], session: int, first: int, size: int, wants_data: bool
    ) -> None:
        self.requests = requests
        self.session = session
        self.first = first
        self.size = size
        self.wants_data = wants_data
        self.payloads: list[bytes | None] = [None] * len(requests)
        self._waiting = deque(range(len(requests)))  # requests without a number
        self._numbered: list[int] = []  # request of each number, from the first on
        self._again: deque[int] = deque()  # numbers, from 0, to send once more
        self._executed = 0  # so many numbers the device has executed
        self._ended = 0  # so many of them are known to have ended well
        self._rewound = -1  # the number that was last gone back to
        self.repeated = 0

    @property
    def sent(self) -> int:
        """Numbers that were given out."""
        return len(self._numbered)

    @property
    def complete(self) -> bool:
        """Every request has ended well, every answer that is wanted is here, and no number is open."""
        return not self._waiting and self._ended == self.sent

    def next(self) -> Packet | None:
        """What to send now; ``None`` if there is nothing to do but wait for an answer."""
        while self._again:
            number = self._again.popleft()
            if number >= self._executed or number == self.sent - 1:
                self.repeated += 1
                return self._packet(number)
        while self._waiting and self.payloads[self._waiting[0]] is not None:
            self._waiting.popleft()  # its answer was only late
        if self._waiting and self.sent - self._executed < self.size:
            self._numbered.append(self._waiting.popleft())
            return self._packet(self.sent - 1)
        return None

    def _packet(self, number: int) -> Packet:
        asked = self.requests[self._numbered[number]]
        return Packet(
            asked.operation,
            self.session,
            (self.first + number) % _SPAN,
            asked.address,
            asked.count,
            asked.payload,
            chained=number > 0,
        )

    def owns(self, sequence: int) -> bool:
        """Whether a sequence number was given out here."""
        return (sequence - self.first) % _SPAN < self.sent

    def request(self, sequence: int) -> Packet:
        """What went out under a sequence number."""
        return self.requests[self._numbered[(sequence - self.first) % _SPAN]]

    def take(self, answer: Packet) -> bool:
        """An answer of this session under a number of this window, ``OK`` or ``EARLY``.

        Returns whether it told anything new.
        """
        number = (answer.sequence - self.first) % _SPAN
        if answer.status == Status.EARLY:
            return self._take_early((answer.address + 1 - self.first) % _SPAN)
        request = self._numbered[number]
        fresh = self.payloads[request] is None or number + 1 > self._ended
        self.payloads[request] = answer.payload
        self._ended = max(self._ended, number + 1)
        self._advance(self._ended)
        return fresh

    def _take_early(self, executed: int) -> bool:
        """The device has executed so many numbers, and something behind them came to it."""
        if executed >= self.sent:  # an answer from before this window
            return False
        fresh = executed > self._executed
        self._advance(max(executed, self._executed))
        if (
            self._executed != self._rewound
        ):  # each gap brings an answer for every packet behind it: one will do
            self._rewound = self._executed
            self._again = deque(range(self._executed, self.sent))
        return fresh

    def _advance(self, executed: int) -> None:
        """Answers of numbers that have been executed will not be sent again, but for the last."""
        if self.wants_data:
            for number in range(self._executed, executed):
                request = self._numbered[number]
                if self.payloads[request] is None and request not in self._waiting:
                    self._waiting.append(request)
        self._executed = executed

    def silence(self) -> None:
        """Nothing came for long: send the last number again, as its answer tells how far the device is."""
        self._rewound = -1
        self._again = deque([self.sent - 1])
