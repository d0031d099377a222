# SPDX-License-Identifier: BSD-2-Clause
"""LiteX's own ``litex_server`` between the driver and a board in Python."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from litex.tools.litex_server import RemoteServer
from litex.tools.remote.comm_uart import CommUART
from litex.tools.remote.comm_udp import CommUDP

from spatten_drivers import Emulator, open_device
from spatten_drivers.errors import LinkError, LinkTimeoutError
from tests.drivers.devices.litex.test_device import jobs, same
from tests.drivers.devices.litex.test_sockets import THERE, Server

HERE = "127.0.0.1"


class Comm(CommUDP):
    """On one address of this host, since the board has another."""

    def open(self, probe: bool = True) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HERE, self.port))
        self.socket.settimeout(0.1)
        self.probe(self.server, self.port)


@pytest.fixture(params=["udp", "socket"])
def board(request: pytest.FixtureRequest) -> Iterator[Server]:
    # LiteX's client sends a command in many parts and never again: on a busy machine a bridge forgets some.
    served = Server(request.param, now=lambda: 0.0)
    yield served
    served.stop()


@pytest.fixture
def serve(board: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], str]:
    """Starts ``litex_server`` in front of the board; the uri to reach it by."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "csr.json").write_text(json.dumps(board.board.record), "utf-8")

    def start() -> str:
        udp = board.kind == "udp"
        comm = Comm(THERE, board.port) if udp else CommUART(f"socket://{THERE}:{board.port}")
        with socket.socket() as free:
            free.bind((HERE, 0))
            port = free.getsockname()[1]
        server = RemoteServer(comm, HERE, port)
        server.open()
        server.start(1)
        return f"litex:server://{HERE}:{port}?csr={tmp_path / 'csr.json'}"

    return start


def test_jobs_through_litex_server(serve: Callable[[], str]) -> None:
    with open_device(serve()) as device:
        assert same(jobs(device, 1), jobs(Emulator(memory_bytes=1 << 16, kernel="numpy"), 1))


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # the server's thread dies
def test_a_silent_board_behind_litex_server(
    board: Server, serve: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over UDP the server tries ten times and hangs up, over a UART it waits for ever."""
    monkeypatch.setattr("spatten_drivers.devices.litex.server_link.ServerLink.first_timeout", 3.0)
    device = open_device(serve())
    monkeypatch.setattr("tests.drivers.devices.litex.bridges.EtherboneSlave.handle", lambda self, packet: [])
    monkeypatch.setattr("tests.drivers.devices.litex.bridges.UartBridge.handle", lambda self, byte: b"")
    told = "closed the connection" if board.kind == "udp" else r"0 of \d+ bytes within 3 s: the server's own"
    with pytest.raises(LinkError, match=told):
        device.read_register("STATUS")
    with pytest.raises(LinkTimeoutError, match="gave up earlier"):
        device.read_register("STATUS")
    device.close()
