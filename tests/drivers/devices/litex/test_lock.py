# SPDX-License-Identifier: BSD-2-Clause
"""A board has one user, and a dead one is no user."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spatten_drivers.devices.litex.lock import BoardLock
from spatten_drivers.errors import DeviceBusyError, DeviceError

BOARD = "udp://192.168.1.50:1234"
HOLDER = f"""
import sys
from spatten_drivers.devices.litex.lock import BoardLock
lock = BoardLock({BOARD!r})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def holder() -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the board."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_told_who_holds_it(holder: "subprocess.Popen[str]") -> None:
    told = rf"192\.168\.1\.50.*process {holder.pid} \(-c\) on .* since 20"
    with pytest.raises(DeviceBusyError, match=told):
        BoardLock(BOARD)
    BoardLock("udp://192.168.1.51:1234").release()  # another board is free


def test_a_killed_process_holds_nothing(holder: "subprocess.Popen[str]") -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    BoardLock(BOARD).release()


def test_a_second_device_of_this_process_is_refused_until_the_first_is_closed() -> None:
    lock = BoardLock(BOARD)
    with pytest.raises(DeviceBusyError, match=str(os.getpid())):
        BoardLock(BOARD)
    lock.release()
    lock.release()
    BoardLock(BOARD).release()


def test_a_forked_child_neither_holds_nor_releases() -> None:
    lock = BoardLock(BOARD)
    child = os.fork()
    if child == 0:
        lock.release()  # of a copy that was given up: nothing happens
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(DeviceBusyError):
        BoardLock(BOARD)
    lasting = os.fork()
    if lasting == 0:
        signal.pause()
    lock.release()
    BoardLock(BOARD).release()  # though the child lives on
    os.kill(lasting, signal.SIGKILL)
    os.waitpid(lasting, 0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match="XDG_RUNTIME_DIR"):
        BoardLock(BOARD)
