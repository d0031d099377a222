# SPDX-License-Identifier: BSD-2-Clause
"""Packets over real sockets, and the frames of a serial line."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from spatten_drivers.link import LinkClient, LinkError, Patience, SerialTransport, UdpTransport
from spatten_drivers.link.format import LONGEST
from spatten_drivers.link.model import LinkDevice
from spatten_drivers.link.slip import Deframer, frame

from .exercise import MEMORY_BYTES, PUSH, Exercise, Scratch

BEAT = 16


def device() -> LinkDevice:
    return LinkDevice(Scratch(), np.zeros(MEMORY_BYTES, np.uint8), BEAT)


def journal(board: LinkDevice) -> list[int]:
    assert isinstance(board.bus, Scratch)
    return board.bus.journal


@pytest.fixture
def udp_device() -> Iterator[tuple[LinkDevice, int]]:
    """A device that answers datagrams; its port."""
    board, place = device(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    place.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            raw, peer = place.recvfrom(1 << 16)
            if raw == b"end":
                return
            for answer in board.handle(raw, (0x7F000001, peer[1])):
                place.sendto(answer, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield board, place.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"end", place.getsockname())
    thread.join()
    place.close()


def serve_bytes(board: LinkDevice, listener: socket.socket) -> None:
    """A device on a line: one connection."""
    connection, _ = listener.accept()
    frames = Deframer(LONGEST)
    with connection:
        while data := connection.recv(100):
            for raw in frames.push(data):
                for answer in board.handle(raw):
                    connection.sendall(b"noise" + frame(answer))


@pytest.fixture
def line_device() -> Iterator[tuple[LinkDevice, int]]:
    """A device at a TCP port that stands for a serial line."""
    board = device()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_bytes, args=(board, listener))
        thread.start()
        yield board, listener.getsockname()[1]
    thread.join()


def test_datagrams(udp_device: tuple[LinkDevice, int]) -> None:
    board, port = udp_device
    client = LinkClient(UdpTransport("127.0.0.1", port))
    exercise = Exercise(client, 1, BEAT)
    exercise.run(200)
    assert journal(board) == exercise.journal
    np.testing.assert_array_equal(board.memory, exercise.memory)
    client.close()
    assert board.session == 0


def test_a_line_of_bytes(line_device: tuple[LinkDevice, int]) -> None:
    board, port = line_device
    client = LinkClient(SerialTransport(f"socket://127.0.0.1:{port}", baud=10_000_000))
    exercise = Exercise(client, 2, BEAT)
    exercise.run(150)
    assert journal(board) == exercise.journal
    client.close()
    client.close()


def test_nobody_at_the_port() -> None:
    """A port that refuses is no error of its own: the board may be loading."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    client = LinkClient(UdpTransport("127.0.0.1", port), Patience(deadline=0.2))
    with pytest.raises(LinkError, match=rf"udp 127\.0\.0\.1:{port}: no answer to IDENTIFY .* within 0.2 s"):
        client.read(0, 1)


def test_the_other_end_hangs_up(line_device: tuple[LinkDevice, int]) -> None:
    _, port = line_device
    line = SerialTransport(f"socket://127.0.0.1:{port}")
    client = LinkClient(line)
    client.write(PUSH, np.ones(1, np.uint32))
    line._channel._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # a channel of TCP has one
    with pytest.raises(LinkError, match=r"the other side closed the connection|cannot send"):
        client.read(0, 1)


@pytest.mark.parametrize("place", ["socket://127.0.0.1:1", "socket://127.0.0.1", "/dev/no-such-port"])
def test_no_such_line(place: str) -> None:
    with pytest.raises(LinkError, match=r"expected a serial port or socket://host:port"):
        SerialTransport(place)


def test_no_such_host() -> None:
    with pytest.raises(LinkError, match="expected the address of a board"):
        UdpTransport("no such host.invalid")


@pytest.mark.parametrize("seed", range(20))
def test_frames_in_pieces(seed: int) -> None:
    """Whatever the bytes, and however they are cut up."""
    rng = random.Random(seed)
    packets = [bytes(rng.choices((0xC0, 0xDB, 0xDC, 0xDD, 7), k=rng.randint(1, 60))) for _ in range(20)]
    line = b"noise" + b"".join(frame(packet) for packet in packets)
    frames, found = Deframer(100), []
    while line:
        size = rng.randint(1, 30)
        found += frames.push(line[:size])
        line = line[size:]
    assert found == [b"noise", *packets]


def test_frames_that_are_too_long_are_dropped() -> None:
    frames = Deframer(8)
    assert frames.push(frame(bytes(9))) == []
    assert frames.push(bytes(1000)) == []
    assert frames.push(bytes([0xC0]) + frame(bytes(8))) == [bytes(8)]
