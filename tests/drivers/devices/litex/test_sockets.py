# SPDX-License-Identifier: BSD-2-Clause
"""Boards behind real sockets, opened by their uris: UDP, a UART bridge over TCP, and litex_server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from spatten_drivers import Emulator, open_device
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.devices.litex.opening import BAUD_CONSTANT
from spatten_drivers.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceMismatchError,
    LinkError,
    LinkTimeoutError,
)
from spatten_drivers.link.format import Status
from spatten_drivers.link.model import BusFault, LinkDevice, ModelBus
from tests.drivers.devices.litex.board import DRAM, Board, MockPhy
from tests.drivers.devices.litex.bridges import EtherboneSlave, UartBridge
from tests.drivers.devices.litex.test_device import jobs, same

THERE = "127.0.0.2"  # LiteEth answers to the port it was asked at, so board and host need an address each


class LinkBoard(ModelBus):
    """The bus of a board as the link SpL sees it."""

    def __init__(self, board: Board) -> None:
        self.board = board

    def read_word(self, address: int) -> int:
        errors = self.board.bus_errors
        word = self.board.read(address)
        if self.board.bus_errors != errors:
            raise BusFault(Status.BUS_TIMEOUT)
        return word

    def write_word(self, address: int, value: int) -> None:
        self.board.write(address, value)


class Server:
    """Serves a board until it is stopped; may be started again at the same port.

    ``now`` is the time by which a UART bridge forgets half a command.
    """

    def __init__(self, kind: str, now: Callable[[], float] = time.monotonic) -> None:
        self.board = Board(Emulator(memory_bytes=1 << 16, kernel="numpy"))
        self.link = LinkDevice(LinkBoard(self.board), self.board.emulator._memory, 16)
        self.kind, self.port, self._now = kind, 0, now
        self.start()

    def start(self) -> None:
        kind = socket.SOCK_DGRAM if self.kind in ("udp", "link") else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((THERE, self.port))
        self.port = self.socket.getsockname()[1]
        serve = {
            "udp": self._datagrams,
            "socket": self._bytes,
            "server": self._litex_server,
            "link": self._link_packets,
        }[self.kind]
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._until_closed, args=(serve,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        for end in filter(None, (self._peer, self.socket)):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._thread.join(5.0)

    def _until_closed(self, serve: Callable[[], None]) -> None:
        with suppress(OSError):
            while True:
                serve()

    def _datagrams(self) -> None:
        slave = EtherboneSlave(self.board, 64)
        while True:
            packet, sender = self.socket.recvfrom(2048)
            if sender is None:  # shut down
                raise OSError
            for answer in slave.handle(packet):
                self.socket.sendto(answer, (sender[0], self.port))

    def _link_packets(self) -> None:
        while True:
            packet, sender = self.socket.recvfrom(2048)
            if sender is None:  # shut down
                raise OSError
            for answer in self.link.handle(packet, (0, sender[1])):
                self.socket.sendto(answer, sender)

    def _bytes(self) -> None:
        bridge = UartBridge(self.board, self._now)
        self._peer, _ = self.socket.accept()
        while data := self._peer.recv(4096):
            self._peer.sendall(b"".join(bridge.handle(byte) for byte in data))

    def _litex_server(self) -> None:
        """As ``litex_server`` does, which answers with a base address of 0 and merges what was read."""
        slave = EtherboneSlave(self.board, 256)
        self._peer, _ = self.socket.accept()
        self._peer.sendall(b"CommUDP:localhost:1234")
        while packet := self._packet(self._peer):
            for answer in slave.handle(packet):
                self._peer.sendall(answer[:12] + bytes(4) + answer[16:])

    @staticmethod
    def _packet(peer: socket.socket) -> bytes:
        head = peer.recv(12, socket.MSG_WAITALL)
        if len(head) < 12:
            return b""
        words = (head[10] + 1 if head[10] else 0) + (head[11] + 1 if head[11] else 0)
        return head + peer.recv(4 * words, socket.MSG_WAITALL)


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("SPATTEN_BOARD", raising=False)


@pytest.fixture(params=["udp", "socket", "server", "link"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    served = Server(request.param)
    yield served
    served.stop()


@pytest.fixture
def udp_server() -> Iterator[Server]:
    served = Server("udp")
    yield served
    served.stop()


def uri(server: Server, folder: Path) -> str:
    (folder / "csr.json").write_text(json.dumps(server.board.record), "utf-8")
    return f"litex:{server.kind}://{THERE}:{server.port}?csr={folder / 'csr.json'}&depth=64"


def test_jobs_by_uri(server: Server, tmp_path: Path) -> None:
    with open_device(uri(server, tmp_path)) as device:
        assert isinstance(device, LitexDevice)
        assert same(jobs(device, 1), jobs(Emulator(memory_bytes=1 << 16, kernel="numpy"), 1))
        assert device.name == f"litex {server.kind}://{THERE}:{server.port}"


def test_a_server_killed_and_started_again(server: Server, tmp_path: Path) -> None:
    """An open device over Etherbone goes on; another says so, and opening again helps."""
    device = open_device(uri(server, tmp_path))
    before = jobs(device, 1)
    server.stop()
    with pytest.raises(LinkError, match=r"the board (is )?on|start it anew|cannot send|cannot receive"):
        jobs(device, 1)
    server.start()
    if server.kind == "udp":
        assert same(jobs(device, 1), before)
    device.close()
    with open_device(uri(server, tmp_path)) as again:
        assert same(jobs(again, 1), before)


def test_auto_takes_the_board_of_the_environment_and_says_so(
    udp_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPATTEN_BOARD", uri(udp_server, tmp_path).removeprefix("litex:"))
    said: list[str] = []
    with open_device("auto", require_board=True, announce=said.append) as device:
        assert device.is_board
    assert said == [f"using litex udp://{THERE}:{udp_server.port} (config {device.config.digest:016x})"]


def test_auto_without_the_board_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert not open_device("auto", announce=said.append).is_board
    assert "litex: SPATTEN_BOARD is not set; set it to your board, such as litex:udp://" in said[0]
    monkeypatch.setenv("SPATTEN_BOARD", f"udp://{THERE}?csr={tmp_path / 'none.json'}")
    with pytest.raises(DeviceError, match=r"a board is required and none was found \(.*none.json: cannot be"):
        open_device("auto", require_board=True)


CHILD = """
import os, signal, sys
from spatten_drivers import open_device
device = open_device(sys.argv[1])
for _ in range(3):
    device.push_job(0, timeout=5.0)
print("pushed", flush=True)
signal.pause()
"""


def test_two_processes_at_a_board_and_one_killed_in_a_job(udp_server: Server, tmp_path: Path) -> None:
    board = uri(udp_server, tmp_path)
    with subprocess.Popen([sys.executable, "-c", CHILD, board], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "pushed\n"
        with pytest.raises(DeviceBusyError, match=rf"{THERE}.* process {child.pid} "):
            open_device(board)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with open_device(board) as device:
        assert device.read_fields("STATUS")["IDLE"] == 1
        assert device.read_register("JOB_ERROR") == 0
        assert same(jobs(device, 1), jobs(Emulator(memory_bytes=1 << 16, kernel="numpy"), 1))


def test_a_forked_child_may_not_use_the_board(udp_server: Server, tmp_path: Path) -> None:
    with open_device(uri(udp_server, tmp_path)) as device:
        child = os.fork()
        if child == 0:
            try:
                device.read_register("STATUS")
            except DeviceError as error:
                os._exit(42 if "used by its child" in str(error) else 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        assert device.read_register("STATUS") & 1


def test_a_stale_map_is_refused(udp_server: Server, tmp_path: Path) -> None:
    """Registers have moved since the map was written: where the core's identity was is something else."""
    board = uri(udp_server, tmp_path)
    record = udp_server.board.record
    for entry in record["csr_registers"].values():
        entry["addr"] += 4
    (tmp_path / "csr.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(DeviceMismatchError, match="no SpAtten core answers"):
        open_device(board)
    open_device(uri(udp_server, tmp_path)).close()  # the refused one left no lock


def test_a_map_of_another_bitstream_is_refused(udp_server: Server, tmp_path: Path) -> None:
    """All registers are where they were; only the name tells."""
    board = uri(udp_server, tmp_path)
    record = udp_server.board.record
    record["constants"]["config_identifier"] = "spatten, abi 1.0, configuration 0123456789abcdef"
    (tmp_path / "csr.json").write_text(json.dumps(record), "utf-8")
    told = r"calls itself 'SpAtten, a mock board' \(configuration .*csr.json is of 'spatten, abi 1.0, .*cdef'"
    with pytest.raises(DeviceMismatchError, match=told):
        open_device(board)


def test_a_system_with_an_etherbone_core_of_liteeth_is_refused(udp_server: Server, tmp_path: Path) -> None:
    board = uri(udp_server, tmp_path)
    record = udp_server.board.record
    del record["constants"]["spatten_etherbone_depth"]
    (tmp_path / "csr.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(DeviceMismatchError, match=r"csr.json: has no constant spatten_etherbone_depth"):
        open_device(board)


def test_memory_that_is_ready_can_be_levelled_anew(udp_server: Server, tmp_path: Path) -> None:
    board = udp_server.board
    board.phy = MockPhy([{(1, 2), (1, 3)}, {(0, 5), (0, 6), (0, 7)}])
    (tmp_path / "dram.json").write_text(json.dumps(asdict(DRAM)), "utf-8")
    board.values["ddrctrl_init_done"] = 1
    with open_device(uri(udp_server, tmp_path)) as device:
        assert "read levelling" not in device.report()
    with open_device(uri(udp_server, tmp_path) + "&level=1") as device:
        report = device.report()
    # The first line counts what the link lost or had late, and on a busy machine that may be something.
    assert report.splitlines()[1] == "read levelling, delays from left to right:"


def test_a_silent_port_in_place_of_litex_server(tmp_path: Path) -> None:
    server = Server("socket")
    try:
        with pytest.raises(LinkTimeoutError, match=r"greeted with b''; expected litex_server's"):
            open_device(uri(server, tmp_path).replace("litex:socket", "litex:server"))
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            "litex:http://127.0.0.2?csr=x",
            "expected litex: and one of udp://, serial://, socket://, server://, link://, link\\+serial://",
        ),
        ("litex", "expected litex: and one of"),
        ("litex:udp://127.0.0.2", "names no register map"),
        ("litex:socket://127.0.0.2?csr=x", "names no host and port"),
        ("litex:udp://127.0.0.2?csr=x&speed=1", "has no option"),
        ("litex:udp://127.0.0.2:http?csr=x", "whole numbers"),
        ("litex:udp://127.0.0.2?csr=x&depth=deep", "whole numbers"),
        ("litex:serial:///dev/no-such-port?csr={csr}", "cannot open /dev/no-such-port at 115200 baud"),
        ("litex:link+serial:///dev/no-such-port?csr={csr}", "serial /dev/no-such-port: .*expected a serial"),
        ("litex:socket://127.0.0.2:1?csr={csr}", "nobody answers at 127.0.0.2:1"),
        ("litex:udp://no-such-host.invalid?csr={csr}", "no such host"),
    ],
)
def test_uris_that_name_no_board(wrong: str, told: str, udp_server: Server, tmp_path: Path) -> None:
    uri(udp_server, tmp_path)
    with pytest.raises(DeviceError, match=told):
        open_device(wrong.format(csr=tmp_path / "csr.json"))


@pytest.mark.parametrize(("option", "speed"), [("", 1_000_000), ("&baud=9600", 9600)], ids=["map", "option"])
def test_the_speed_of_a_line_is_the_maps_unless_given(
    option: str, speed: int, udp_server: Server, tmp_path: Path
) -> None:
    record = json.loads(json.dumps(udp_server.board.record))
    record["constants"][BAUD_CONSTANT] = 1_000_000
    (tmp_path / "csr.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(DeviceError, match=f"cannot open /dev/no-such-port at {speed} baud"):
        open_device(f"litex:serial:///dev/no-such-port?csr={tmp_path / 'csr.json'}{option}")
