# SPDX-License-Identifier: BSD-2-Clause
"""A board behind ``litex_server``: Etherbone packets over TCP.

The server answers a read when it has the words and never invents any; LiteX's own client turns its silence
into zeros, this one does not. Answers carry no tag, but TCP keeps their order and only one request is under
way. After a silence nobody can know what the server still does, so the connection is given up with an error.
(In LiteX 2024.12 a server whose UDP link times out hangs up, keeps its lock and serves nobody any more until
it is started anew; one with a UART waits for ever.)

Source: ``litex/tools/litex_server.py`` of LiteX 2024.12.
"""

from __future__ import annotations

from collections import Counter

from ...errors import LinkDamageError, LinkTimeoutError
from ...link.channel import Channel
from .etherbone import ADDRESS_WORDS, decode_answer, encode_request
from .link import Exchange, Link, Words

#: Words of a record that LiteX's ``add_etherbone`` buffers unless it is told otherwise.
DEFAULT_DEPTH = 16
_ANSWER_HEAD = 16
_GREETING_BYTES = 128
#: Seconds; the server itself tries ten times for one second each.
PATIENCE = 12.0


class ServerLink(Link):
    """A TCP connection to ``litex_server``; its first message says what lies behind it."""

    resends_writes = False
    first_timeout = PATIENCE
    max_copies = 2
    lifetime = 0.0

    def __init__(self, channel: Channel, depth: int = DEFAULT_DEPTH) -> None:
        self.name, self.counts = channel.name, Counter()
        self.max_words = min(depth - ADDRESS_WORDS, 255)
        self.max_writes = self.max_words
        self._channel, self._broken = channel, False
        greeting = channel.receive(_GREETING_BYTES, 3.0)
        if not greeting.startswith(b"Comm"):
            channel.close()
            raise LinkTimeoutError(
                f"{self.name}: greeted with {greeting!r}; expected litex_server's 'Comm...'. "
                "Is another program at this port? For a UART bridge use litex:socket://"
            )

    def exchange(self, request: Exchange, timeout: float) -> Words:
        if self._broken:
            raise LinkTimeoutError(
                f"{self.name}: gave up earlier; start litex_server anew and open the device again"
            )
        self._broken = True
        self._channel.send(encode_request(request.base, request.words, 0, request.reads))
        packet = self._receive(_ANSWER_HEAD + 4 * len(request.reads), timeout)
        answer = decode_answer(packet)
        if answer is None:
            raise LinkDamageError(f"{self.name}: {packet[:16].hex(' ')}... is no answer to what was asked")
        self._broken = False
        return answer.words

    def settle(self) -> None:
        """Every request has its answer, or the connection is given up."""

    def _receive(self, size: int, timeout: float) -> bytes:
        data, deadline = b"", self.now() + timeout
        while len(data) < size and (left := deadline - self.now()) > 0:
            data += self._channel.receive(size - len(data), left)
        if len(data) < size:
            self.counts["lost"] += 1
            self._channel.close()
            raise LinkTimeoutError(
                f"{self.name}: {len(data)} of {size} bytes within {timeout:g} s: the server's own link to "
                "the board is dead, or it keeps the lock of another client. Start litex_server anew, or "
                "connect directly (litex:udp://board, litex:serial:///dev/ttyUSB0)"
            )
        return data
