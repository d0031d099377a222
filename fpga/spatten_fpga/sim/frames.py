# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet frames with ARP and UDP, as much as a host needs that talks to LiteEth."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

from liteeth.common import convert_ip

PREAMBLE = b"\x55" * 7 + b"\xd5"
MAC = bytes.fromhex("0a0b0c0d0e0f")
_UDP, _IPV4, _ARP = 17, 0x0800, 0x0806
_SHORTEST = 60  # bytes of a frame without its check sum


@dataclass(frozen=True)
class Host:
    """A host at one end of a cable, with a board at the other.

    Attributes
    ----------
    port : of UDP, that the board listens on.
    own_port : that it is sent from and answered to.
    address, own_address : of IP, of the board and of the host.
    board_mac : of the board.
    """

    port: int
    own_port: int
    address: str
    own_address: str
    board_mac: int

    @cached_property
    def _board(self) -> tuple[bytes, bytes]:
        return self.board_mac.to_bytes(6, "big"), convert_ip(self.address).to_bytes(4, "big")

    @cached_property
    def _ip(self) -> bytes:
        return convert_ip(self.own_address).to_bytes(4, "big")

    def datagram(self, payload: bytes) -> bytes:
        """A frame with a UDP datagram to the board; no UDP check sum, as LiteEth has none either."""
        ports = (self.own_port, self.port, 8 + len(payload), 0)
        udp = b"".join(n.to_bytes(2, "big") for n in ports) + payload
        head = bytearray(
            bytes([0x45, 0]) + (20 + len(udp)).to_bytes(2, "big") + bytes([0, 0, 0x40, 0, 64, _UDP, 0, 0])
        )
        head += self._ip + self._board[1]
        total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
        total = (total & 0xFFFF) + (total >> 16)
        head[10:12] = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
        return self._frame(_IPV4, bytes(head) + udp)

    def arp_reply(self) -> bytes:
        """A frame that says where the host is."""
        return self._frame(_ARP, bytes.fromhex("0001080006040002") + MAC + self._ip + b"".join(self._board))

    def _frame(self, kind: int, payload: bytes) -> bytes:
        """With preamble, padding and check sum."""
        body = (self._board[0] + MAC + kind.to_bytes(2, "big") + payload).ljust(_SHORTEST, b"\0")
        return PREAMBLE + body + zlib.crc32(body).to_bytes(4, "little")

    def split(self, received: bytes) -> tuple[list[bytes], int]:
        """Payloads of the UDP datagrams among frames from the board, and how many requests by ARP there are.

        Raises :class:`ValueError` for a frame whose check sum, addresses or ports are wrong, and for bytes in
        front of the first.
        """
        datagrams, requests = [], 0
        ports = self.port.to_bytes(2, "big") + self.own_port.to_bytes(2, "big")
        before, *parts = received.split(PREAMBLE)
        if before:
            raise ValueError(f"bytes without a preamble: {before.hex(' ')}")
        for part in parts:
            body, check = part[:-4], part[-4:]
            if zlib.crc32(body).to_bytes(4, "little") != check:
                raise ValueError(f"a frame with a wrong check sum: {part.hex(' ')}")
            kind = int.from_bytes(body[12:14], "big")
            if kind == _ARP:
                requests += 1
            elif kind == _IPV4 and (body[:6], body[23], body[26:38]) == (
                MAC,
                _UDP,
                self._board[1] + self._ip + ports,
            ):
                datagrams.append(body[42 : 34 + int.from_bytes(body[38:40], "big")])
            else:
                raise ValueError(f"a frame that is neither ARP nor UDP to the host: {body.hex(' ')}")
        return datagrams, requests
