# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet frames with ARP and UDP, as much as a host needs that talks to LiteEth."""

from __future__ import annotations

import zlib

PREAMBLE = b"\x55" * 7 + b"\xd5"
HOST_MAC, BOARD_MAC = bytes.fromhex("0a0b0c0d0e0f"), bytes.fromhex("10e2d5000000")
HOST_IP, BOARD_IP = bytes([192, 168, 1, 100]), bytes([192, 168, 1, 50])
_UDP, _IPV4, _ARP = 17, 0x0800, 0x0806


def frame(kind: int, payload: bytes, to: bytes = BOARD_MAC) -> bytes:
    """A frame from the host, with preamble, padding and check sum."""
    body = to + HOST_MAC + kind.to_bytes(2, "big") + payload
    body += bytes(max(0, 60 - len(body)))
    return PREAMBLE + body + zlib.crc32(body).to_bytes(4, "little")


def datagram(payload: bytes, port: int) -> bytes:
    """A frame with a UDP datagram to the board; no UDP check sum, as LiteEth has none either."""
    udp = b"".join(n.to_bytes(2, "big") for n in (port, port, 8 + len(payload), 0)) + payload
    head = bytearray(
        bytes([0x45, 0]) + (20 + len(udp)).to_bytes(2, "big") + bytes([0, 0, 0x40, 0, 64, _UDP, 0, 0])
    )
    head += HOST_IP + BOARD_IP
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    return frame(_IPV4, bytes(head) + udp)


def arp_reply() -> bytes:
    """Where the host is."""
    return frame(_ARP, bytes.fromhex("0001080006040002") + HOST_MAC + HOST_IP + BOARD_MAC + BOARD_IP)


def split(received: bytes) -> tuple[list[bytes], int]:
    """Payloads of the UDP datagrams among frames from the board, and how many requests by ARP there are.

    Raises :class:`ValueError` for a frame whose check sum or addresses are wrong.
    """
    datagrams, requests = [], 0
    for part in received.split(PREAMBLE)[1:]:
        body, check = part[:-4], part[-4:]
        if zlib.crc32(body).to_bytes(4, "little") != check:
            raise ValueError(f"a frame with a wrong check sum: {part.hex(' ')}")
        kind = int.from_bytes(body[12:14], "big")
        if kind == _ARP:
            requests += 1
        elif kind == _IPV4 and (body[:6], body[23], body[30:34]) == (HOST_MAC, _UDP, HOST_IP):
            datagrams.append(body[42 : 34 + int.from_bytes(body[38:40], "big")])
        else:
            raise ValueError(f"a frame that is neither ARP nor UDP to the host: {body.hex(' ')}")
    return datagrams, requests
