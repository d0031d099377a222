# SPDX-License-Identifier: BSD-2-Clause
"""Etherbone over UDP: one request under way at a time, each copy of it with a tag of its own."""

from __future__ import annotations

import secrets
from collections import Counter

from ...errors import LinkDamageError
from ...link.channel import DATAGRAM_BYTES, Channel
from .etherbone import ADDRESS_WORDS, MAX_COUNT, Answer, decode_answer, encode_request
from .link import Exchange, Link, NoAnswer, Words

#: Seconds after which a packet that was sent, and every copy of it, is surely delivered or gone.
LIFETIME = 0.05
#: Tags lie where no system of ours has anything: if a damaged header turns reads into writes, they go
#: nowhere.
_TAG_BASE, _TAGS = 0xE0000000, 1 << 26


class UdpLink(Link):
    """The Etherbone core of our gateware (``spatten_fpga.soc.etherbone``), directly.

    Each copy that is sent has a new tag, which the core hands back: so a late, repeated or reordered answer
    is never taken for the one that is waited for. A record is one frame, so what is lost is lost as a whole;
    a damaged frame is dropped by the network card here and by a filter there.

    Parameters
    ----------
    channel : datagrams to the core.
    depth : words that the core buffers of a record.
    lifetime : seconds that a packet may be under way at most.
    """

    resends_writes = True
    first_timeout = 0.02
    max_copies = 4

    def __init__(self, channel: Channel, depth: int, lifetime: float = LIFETIME) -> None:
        self.name, self.counts = channel.name, Counter()
        self.max_words = min(depth - ADDRESS_WORDS, 2 * MAX_COUNT)
        self.max_writes = min(self.max_words, MAX_COUNT)
        self._channel, self.lifetime = channel, lifetime
        self._issued, self._start = 0, secrets.randbelow(_TAGS)  # not where an earlier program began
        self._under_way: dict[int, float] = {}  # tags without an answer, and when they were sent
        while channel.receive(DATAGRAM_BYTES, lifetime):
            self.counts["before opening"] += 1

    def exchange(self, request: Exchange, timeout: float) -> Words:
        tag = _TAG_BASE + 4 * ((self._start + self._issued) % _TAGS)
        self._issued += 1
        self._channel.send(encode_request(request.base, request.words, tag, request.reads))
        self._under_way[tag] = self.now()
        deadline = self.now() + timeout
        while True:
            answer = self._receive(deadline - self.now())
            if answer is None:
                self.counts["lost"] += 1
                raise NoAnswer(f"{self.name}: no answer within {timeout:g} s")
            if answer.tag == tag and len(answer.words) == len(request.reads):
                del self._under_way[tag]
                return answer.words
            self._sort_out(answer, tag, writes=len(request.words) > 0)

    def settle(self) -> None:
        while self._under_way:
            tag, sent = next(iter(self._under_way.items()))
            left = sent + self.lifetime - self.now()
            if left <= 0:
                del self._under_way[tag]
            elif (answer := self._receive(left)) is not None:
                self._sort_out(answer, None, writes=True)

    def _receive(self, timeout: float) -> Answer | None:
        """The next well-formed answer."""
        deadline = self.now() + timeout
        while (left := deadline - self.now()) > 0 and (packet := self._channel.receive(DATAGRAM_BYTES, left)):
            if (answer := decode_answer(packet)) is not None:
                return answer
            self.counts["malformed"] += 1
        return None

    def _sort_out(self, answer: Answer, waited_for: int | None, writes: bool) -> None:
        """Count an answer that is not the right one; some say that the request came damaged."""
        if answer.tag != waited_for and self._under_way.pop(answer.tag, None) is not None:
            self.counts["late"] += 1
        elif answer.tag != waited_for and self._was_issued(answer.tag):
            self.counts["duplicate"] += 1
        else:
            self.counts["foreign"] += 1
            if writes:
                raise LinkDamageError(
                    f"{self.name}: a request was answered as no request was sent (tag {answer.tag:#x}, "
                    f"{len(answer.words)} words): a packet was damaged on its way, and what it wrote may lie "
                    "anywhere. Check the cable; open the device again and start anew"
                )

    def _was_issued(self, tag: int) -> bool:
        number, odd = divmod(tag - _TAG_BASE, 4)
        return not odd and 0 <= number < _TAGS and (number - self._start) % _TAGS < self._issued
