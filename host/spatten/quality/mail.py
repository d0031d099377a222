# SPDX-License-Identifier: BSD-2-Clause
"""The readable text of a raw mail, however broken: parts, transfer encodings, charsets and HTML undone."""

from __future__ import annotations

import email
import email.policy
from email.message import Message
from html.parser import HTMLParser

#: Decodes any byte, so it serves where a mail names no charset or one that does not exist.
ANY_CHARSET = "latin-1"
READABLE = ("text/plain", "text/html")


def mail_text(raw: bytes) -> str:
    """All plain and HTML parts of a mail in order, without headers and tags, white space made single."""
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    parts = (part for part in message.walk() if part.get_content_type() in READABLE)
    return " ".join(" ".join(_part_text(part) for part in parts).split())


def html_text(page: str) -> str:
    """What a reader sees of an HTML page: character references resolved, scripts and styles gone."""
    reader = _VisibleText()
    reader.feed(page)
    reader.close()
    return " ".join(reader.pieces)


def _part_text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    text = _decoded(raw, part.get_content_charset(ANY_CHARSET))
    return html_text(text) if part.get_content_type() == "text/html" else text


def _decoded(raw: bytes, charset: str) -> str:
    """Bytes that do not fit their charset become U+FFFD; a charset that does not exist is read as any."""
    try:
        return raw.decode(charset, "replace")
    except (LookupError, ValueError):
        return raw.decode(ANY_CHARSET)


class _VisibleText(HTMLParser):
    """Collects the text between tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)
