# SPDX-License-Identifier: BSD-2-Clause
"""Frames of a host, and what it takes of a board."""

from __future__ import annotations

import zlib

import pytest

from spatten_fpga.sim.frames import MAC, PREAMBLE, Host

HOST = Host(5392, 40123, "192.168.1.50", "192.168.1.5", 0x10E2D5000000)
#: The other end: its datagrams are the board's.
BOARD = Host(40123, 5392, "192.168.1.5", "192.168.1.50", int.from_bytes(MAC, "big"))


def test_a_datagram_on_the_wire() -> None:
    frame = HOST.datagram(b"hello")
    body = frame[8:-4]
    assert frame[:8] == PREAMBLE
    assert zlib.crc32(frame[8:]) == 0x2144DF1C  # of any frame with its check sum
    assert body[:14].hex() == "10e2d50000000a0b0c0d0e0f0800"
    assert sum(int.from_bytes(body[at : at + 2], "big") for at in range(14, 34, 2)) % 0xFFFF == 0
    assert body[26:42].hex() == "c0a80105c0a801329cbb1510000d0000"
    assert body[42:] == b"hello".ljust(60 - 42, b"\0")


def test_frames_of_a_board() -> None:
    sent = [b"one", b"", bytes(1400)]
    frames = b"".join(map(BOARD.datagram, sent))
    assert HOST.split(frames + BOARD.arp_reply()) == (sent, 1)
    assert HOST.split(b"") == ([], 0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (BOARD.datagram(b"one")[:-1] + b"\0", "a frame with a wrong check sum"),
        (BOARD.datagram(b"one")[1:], "bytes without a preamble"),
        (HOST.datagram(b"one"), "neither ARP nor UDP to the host"),
        (Host(40124, 5392, "192.168.1.5", "192.168.1.50", BOARD.board_mac).datagram(b""), "neither ARP nor"),
    ],
    ids=["damaged", "cut", "of another", "port"],
)
def test_what_is_not_for_the_host(frame: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HOST.split(frame)
