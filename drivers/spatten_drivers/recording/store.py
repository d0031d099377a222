# SPDX-License-Identifier: BSD-2-Clause
"""The file of a recording: a gzip file of one member a record, each a line of JSON and arrays as ``.npy``.

A member is written at once and carries its own checksum, so a file that was cut is whole up to the cut. Any
tool that reads gzip reads it (``docs/recording.md``).
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordingError

FORMAT = 1
_GZIP_MAGIC, _GZIP_WINDOW = b"\x1f\x8b", 31
_MEMBER_START = gzip.compress(b"", compresslevel=1, mtime=0)[:8]  # what follows depends on the system
_CHUNK = 1 << 16
#: The longest record that is read: all of device memory and its answers.
_LONGEST = 1 << 33


class Record(NamedTuple):
    """One record: what its JSON says, its arrays by name, and the byte of the file where it begins."""

    head: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    offset: int

    @property
    def kind(self) -> str:
        return str(self.head["record"])


class Cut(NamedTuple):
    """The file ends inside the record that begins at byte ``offset``."""

    offset: int


class RecordWriter:
    """Appends records to a new file at ``path``; each is whole in the file once :meth:`write` returns.

    A write that fails ends the recording: the part of a record is taken back, so the file holds whole ones.

    Raises
    ------
    RecordingError : the file cannot be written; the message carries the system's reason.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[bytes] | None = None
        try:
            self._file = open(self.path, "wb", buffering=0)  # noqa: SIM115  stays open till close
        except OSError as error:
            raise self._unwritable(error) from error

    def write(self, kind: str, head: dict[str, Any], **arrays: NDArray[Any]) -> None:
        """Append one record. Records after :meth:`close` are refused."""
        if self._file is None:
            raise RecordingError(f"recording {str(self.path)!r} is closed; nothing can be added to it")
        raw = packed({"record": kind, **head, "arrays": list(arrays)}, arrays)
        start = self._file.tell()
        try:
            rest = memoryview(raw)
            while rest:  # a disk that fills up takes a part first
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._take_back(start)
            raise self._unwritable(error) from error

    def _take_back(self, size: int) -> None:
        """End the file after its whole records."""
        assert self._file is not None
        with suppress(OSError):  # /dev/full has no length
            self._file.truncate(size)
        self.close()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def close(self) -> None:
        """Closing twice is harmless."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RecordingError:
        return RecordingError(
            f"recording {str(self.path)!r} cannot be written: {error.strerror}; expected a file in a folder "
            "that exists and has room. Name another"
        )


def packed(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """One gzip member."""
    body = io.BytesIO()
    body.write(json.dumps(head).encode() + b"\n")
    for array in arrays.values():
        np.save(body, np.ascontiguousarray(array), allow_pickle=False)
    return gzip.compress(body.getvalue(), compresslevel=1, mtime=0)


def read_records(path: str | Path) -> Iterator[Record | Cut]:
    """All records of a file; a :class:`Cut` comes last if the file ends in the middle of one.

    Raises
    ------
    RecordingError : the file cannot be read, is no recording, is of a newer format, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            yield from _records(str(path), file)
    except OSError as error:
        raise RecordingError(
            f"recording {str(path)!r} cannot be read: {error.strerror}; expected a file that --record wrote"
        ) from error


def _records(path: str, file: IO[bytes]) -> Iterator[Record | Cut]:
    start = file.read(2)
    if start != _GZIP_MAGIC[: len(start)] or not start:
        raise _foreign(path, f"it begins with {start!r}")
    file.seek(0)
    for number, member in enumerate(_members(path, file)):
        record = member if isinstance(member, Cut) else _parsed(path, number, *member)
        if number == 0 and isinstance(record, Record):
            _check_first(path, record)
        yield record


def _members(path: str, file: IO[bytes]) -> Iterator[tuple[int, bytes] | Cut]:
    """Unpacked gzip members and where they begin."""
    rest, offset = b"", 0
    while rest or (rest := file.read(_CHUNK)):
        unpacker, body, size = zlib.decompressobj(_GZIP_WINDOW), bytearray(), 0
        while not unpacker.eof:
            if not rest and not (rest := file.read(_CHUNK)):
                _check_nothing_follows(path, file, offset)
                yield Cut(offset)
                return
            try:
                body += unpacker.decompress(rest)
            except zlib.error as error:
                raise _damaged(path, offset, str(error)) from error
            size, rest = size + len(rest), b""
            if len(body) > _LONGEST:
                raise _damaged(path, offset, f"a record of more than {_LONGEST:,} bytes")
        rest = unpacker.unused_data
        yield offset, bytes(body)
        offset += size - len(rest)


def _check_nothing_follows(path: str, file: IO[bytes], offset: int) -> None:
    """A record without an end is where a file was cut only if it is the last one."""
    file.seek(offset + 1)
    tail = b""
    while chunk := file.read(_CHUNK):
        if _MEMBER_START in tail + chunk:
            raise _damaged(path, offset, "it has no end, and others follow")
        tail = chunk[-len(_MEMBER_START) :]


def _parsed(path: str, number: int, offset: int, body: bytes) -> Record:
    stream = io.BytesIO(body)
    try:
        head = json.loads(stream.readline())
        names = head["arrays"]
        arrays = {name: np.load(stream, allow_pickle=False) for name in names}
        known = isinstance(head["record"], str) and not stream.read(1)
    except (ValueError, KeyError, TypeError, EOFError) as error:
        if number == 0:
            raise _foreign(path, "its first record is no JSON line with arrays") from error
        raise _damaged(path, offset, f"the record makes no sense ({error})") from error
    if not known:
        raise _damaged(path, offset, "something stands behind the last array of the record")
    return Record(head, arrays, offset)


def _check_first(path: str, record: Record) -> None:
    if record.kind != "recording" or not isinstance(record.head.get("format"), int):
        raise _foreign(path, f"its first record is {record.kind!r}")
    if record.head["format"] > FORMAT:
        raise RecordingError(
            f"recording {path!r} is of format {record.head['format']}; this release reads up to {FORMAT}. "
            "Update spatten, or record again"
        )


def _foreign(path: str, what: str) -> RecordingError:
    return RecordingError(f"{path!r} is no recording: {what}; expected a file that --record wrote")


def _damaged(path: str, offset: int, what: str) -> RecordingError:
    return RecordingError(
        f"recording {path!r} is damaged in the record that begins at byte {offset}: {what}. Copy the file "
        "again, or record again"
    )
