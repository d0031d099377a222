# SPDX-License-Identifier: BSD-2-Clause
"""Parsers of the quality study on small made-up inputs; nothing is fetched."""

from pathlib import Path

import pytest

from spatten.quality import data
from spatten.quality.data import Labelled, held_out, mails, moby_dick, rated_lines
from spatten.quality.mail import html_text, mail_text

MULTIPART = b"""From: a@example.org
Subject: never read
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="xx"

--xx
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: base64

R3LDvMOfZSBhdXMgS8O2bG4=
--xx
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<html><style>p {color: red}</style><p>Caf=E9 &amp; <b>bar</b></p><script>var x =3D 1;</script></html>
--xx
Content-Type: application/octet-stream

not text
--xx--
"""


def test_multipart_mail_is_decoded_part_by_part() -> None:
    assert mail_text(MULTIPART) == "Grüße aus Köln Café & bar"


@pytest.mark.parametrize("charset", ["x-unknown-charset", "utf-8\x00", "", "idna", "base64"])
def test_a_broken_charset_still_gives_text(charset: str) -> None:
    raw = f"Content-Type: text/plain; charset={charset}\n\nbuy now, 100 % free".encode()
    assert mail_text(raw) == "buy now, 100 % free"


def test_bytes_that_do_not_fit_are_marked() -> None:
    assert mail_text(b"Content-Type: text/plain; charset=utf-8\n\na \xff b") == "a \ufffd b"


def test_a_mail_without_headers_or_end_is_text() -> None:
    assert mail_text(b"\n\njust   words\n\n") == "just words"
    unfinished = b'Content-Type: multipart/mixed; boundary="y"\n\n--y\nContent-Type: text/plain\n\nhalf a'
    assert mail_text(unfinished) == "half a"


def test_unclosed_script_hides_the_rest_only() -> None:
    assert html_text("<p>seen<script>hidden").split() == ["seen"]


def test_ratings_become_labels() -> None:
    table = "1\t2.2\tgood\tone\r\n2\t-0.6\tbad\r\n3\t0.3\tneither\r\n4\t-2.0\tbad\r\n"
    assert rated_lines(table) == [Labelled("good\tone", 1), Labelled("bad", 0)]


def test_mails_are_labelled_by_folder_and_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in data.MAIL_FOLDERS:
        (tmp_path / "spam-assassin" / "data" / folder).mkdir(parents=True)
    root = tmp_path / "spam-assassin" / "data"
    body = "\n\n" + "words of a mail " * 4
    (root / "easy-ham-1" / "1.txt").write_text(body)
    (root / "easy-ham-2" / "2.txt").write_text(body)
    (root / "spam-1" / "3.txt").write_text(body + "buy")
    (root / "spam-1" / "4.txt").write_text("\n\ntoo short")
    monkeypatch.setattr(data, "fetch_npm", lambda *_: tmp_path)
    assert [mail.label for mail in mails.__wrapped__()] == [0, 1]


def test_chapters_come_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "moby-dick" / "data"
    folder.mkdir(parents=True)
    for number in (10, 9, 1):
        (folder / f"chapter_{number}.txt").write_text(f"chapter\n {number}")
    (folder / "contents.txt").write_text("no chapter")
    monkeypatch.setattr(data, "fetch_npm", lambda *_: tmp_path)
    assert moby_dick.__wrapped__() == ["chapter 1", "chapter 9", "chapter 10"]


def test_the_last_tenth_is_held_out() -> None:
    assert held_out([str(number) for number in range(20)]) == "18\n\n19"
