# SPDX-License-Identifier: BSD-2-Clause
"""One user at a board: a lock that the operating system drops when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any

from ...errors import DeviceBusyError, DeviceError

#: Locks of this process; a child that is forked from it gives its copies up, as it does not use the board.
_HELD: weakref.WeakSet[BoardLock] = weakref.WeakSet()


class BoardLock:
    """Held while a device is open. Another process of this user on this machine is told who holds it.

    The lock is advisory and of one machine: a second host at the same board is not seen. It lies on an open
    file (``flock``), so a process that is killed leaves none behind; the file stays and names the last
    holder.

    Parameters
    ----------
    board : address of the board, such as ``udp://192.168.1.50:1234``.

    Raises
    ------
    DeviceBusyError : another process, or another open device of this one, holds it.
    DeviceError : the folder for locks cannot be written.
    """

    def __init__(self, board: str) -> None:
        self.path = lock_folder() / f"{re.sub(r'[^A-Za-z0-9.]+', '_', board)}.lock"
        try:
            self._file: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DeviceError(
                f"{board}: no lock file {self.path} ({error.strerror}). Set XDG_RUNTIME_DIR to a folder "
                "that can be written"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.pread(self._file, 4096, 0))
            self._close_file()
            raise DeviceBusyError(
                f"{board} is in use by {holder}. A board has one user: wait for that program, or end it"
            ) from None
        self._write_holder()
        _HELD.add(self)

    def release(self) -> None:
        """Let others have the board; releasing twice is harmless."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._close_file()

    def _write_holder(self) -> None:
        assert self._file is not None
        record = {
            "pid": os.getpid(),
            "program": " ".join(sys.argv)[:200] or sys.executable,
            "host": socket.gethostname(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(record).encode(), 0)

    def _close_file(self) -> None:
        """The lock belongs to the open file, which a forked child shares: closing a copy releases nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def lock_folder() -> Path:
    """Of this user, made if it is not there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime or tempfile.gettempdir()) / ("spatten" if runtime else f"spatten-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DeviceError(
            f"{folder}: no folder for locks ({error.strerror}). Set XDG_RUNTIME_DIR to one that can be "
            "written"
        ) from error
    return folder


def _holder(record: bytes) -> str:
    try:
        who: dict[str, Any] = json.loads(record)
        return f"process {who['pid']} ({who['program']}) on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process, which has just opened it"


def _give_up_in_child() -> None:
    for lock in list(_HELD):
        lock._close_file()


os.register_at_fork(after_in_child=_give_up_in_child)
