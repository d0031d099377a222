# SPDX-License-Identifier: BSD-2-Clause
"""The file: any records come back as they were, and no damage is taken for data."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from spatten_drivers.errors import RecordingError
from spatten_drivers.recording.store import Cut, Record, RecordWriter, packed, read_records
from tests.drivers.full_disk import room_for

HEAD = {"record": "recording", "format": 1, "arrays": []}
NAMES = st.text(st.characters(categories=["L"]), min_size=1, max_size=8)
VALUES = st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers(), max_size=3)
HEADS = st.dictionaries(NAMES.filter(lambda n: n not in ("record", "arrays")), VALUES, max_size=4)
ARRAYS = st.dictionaries(
    NAMES.filter(lambda n: n not in ("self", "kind", "head")),
    stn.arrays(st.sampled_from(["u1", "<u2", "<u4", "<i2", "<u8"]), stn.array_shapes(min_dims=1, min_side=0)),
    max_size=3,
)
RECORDS = st.lists(st.tuples(NAMES, HEADS, ARRAYS), min_size=1, max_size=4)


def written(path: Path, records: list[tuple[str, dict[str, Any], dict[str, np.ndarray]]]) -> list[int]:
    """Write a head and the records; where each ends."""
    writer, ends = RecordWriter(path), []
    for kind, head, arrays in [("recording", {"format": 1}, {}), *records]:
        writer.write(kind, head, **arrays)
        ends.append(path.stat().st_size)
    writer.close()
    return ends


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


@given(RECORDS)
@settings(max_examples=30)
def test_records_come_back(folder: Path, records: list[Any]) -> None:
    ends = written(folder / "a.rec", records)
    found = list(read_records(folder / "a.rec"))[1:]
    assert [record.offset for record in found] == ends[:-1]
    for (kind, head, arrays), record in zip(records, found, strict=True):
        assert record.kind == kind
        assert record.head == {"record": kind, **head, "arrays": list(arrays)}
        for name, array in arrays.items():
            assert record.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(record.arrays[name], array)


@given(RECORDS, st.data())
@settings(max_examples=30)
def test_a_cut_file_keeps_its_whole_records(folder: Path, records: list[Any], data: st.DataObject) -> None:
    ends = [0, *written(folder / "b.rec", records)]
    whole = (folder / "b.rec").read_bytes()
    end = data.draw(st.integers(1, len(whole)), "bytes left")
    (folder / "b.rec").write_bytes(whole[:end])
    *found, last = read_records(folder / "b.rec")
    left = sum(0 < e <= end for e in ends)
    if end in ends:
        assert len([*found, last]) == left
        assert isinstance(last, Record)
    else:
        assert len(found) == left
        assert last == Cut(ends[left])


@given(RECORDS, st.data())
@settings(max_examples=30)
def test_a_changed_byte_never_passes_for_data(folder: Path, records: list[Any], data: st.DataObject) -> None:
    """What still comes out is what was written: the checksums, or the parser, refuse all else."""
    written(folder / "c.rec", records)
    whole = bytearray((folder / "c.rec").read_bytes())
    before = list(read_records(folder / "c.rec"))
    place = data.draw(st.integers(0, len(whole) - 1), "place")
    whole[place] ^= data.draw(st.integers(1, 255), "change")
    (folder / "c.rec").write_bytes(whole)
    found: list[Any] = []
    try:
        for record in read_records(folder / "c.rec"):
            found.append(record)  # noqa: PERF402  (what came before the error counts)
    except RecordingError:
        pass
    for mine, theirs in zip(before, found, strict=False):
        if isinstance(theirs, Record):
            assert mine.head == theirs.head
            assert all(np.array_equal(mine.arrays[n], theirs.arrays[n]) for n in mine.arrays)


def test_the_page_s_reader(tmp_path: Path) -> None:
    """Ten lines of NumPy and the standard library read it; so does ``zcat``."""
    written(tmp_path / "a.rec", [("job", {"number": 1}, {"memory": np.arange(3, dtype="u1")})])
    found = []
    with gzip.open(tmp_path / "a.rec") as file:
        while line := file.readline():
            head = json.loads(line)
            found.append((head["record"], {name: np.load(file).tolist() for name in head["arrays"]}))
    assert found == [("recording", {}), ("job", {"memory": [0, 1, 2]})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it begins with b''"),
        (b"PK\x03\x04", "it begins with b'PK'"),
        (gzip.compress(b"hello"), "its first record is no JSON line with arrays"),
        (gzip.compress(b"[1, 2]\n"), "its first record is no JSON line with arrays"),
        (packed({"record": "job", "arrays": []}, {}), "its first record is 'job'"),
        (packed({"record": "recording", "arrays": []}, {}), "its first record is 'recording'"),
    ],
    ids=["empty", "zip", "a word", "a list", "a job", "no fields"],
)
def test_a_foreign_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as error:
        list(read_records(path))
    assert str(error.value) == (
        f"{str(path)!r} is no recording: {message}; expected a file that --record wrote"
    )


def test_a_newer_format(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    path.write_bytes(packed({"record": "recording", "format": 2, "arrays": []}, {}))
    with pytest.raises(RecordingError) as error:
        list(read_records(path))
    assert str(error.value) == (
        f"recording {str(path)!r} is of format 2; this release reads up to 1. Update spatten, or record again"
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"{}\n", "the record makes no sense ('arrays')"),
        (b'{"record": "job", "arrays": []}\nmore', "something stands behind the last array of the record"),
    ],
)
def test_a_record_without_sense(tmp_path: Path, body: bytes, what: str) -> None:
    first, path = packed(HEAD, {}), tmp_path / "x.rec"
    path.write_bytes(first + gzip.compress(body))
    with pytest.raises(RecordingError) as error:
        list(read_records(path))
    assert str(error.value) == (
        f"recording {str(path)!r} is damaged in the record that begins at byte {len(first)}: {what}. Copy "
        "the file again, or record again"
    )


def test_a_record_that_lost_its_end_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    ends = written(path, [("job", {}, {"memory": np.arange(99)}), ("answer", {}, {})])
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[1] - 30] + whole[ends[1] :])
    with pytest.raises(RecordingError, match=f"damaged in the record that begins at byte {ends[0]}"):
        list(read_records(path))


def test_pickles_are_refused(tmp_path: Path) -> None:
    """A recording from elsewhere runs nothing."""
    body = json.dumps({"record": "job", "arrays": ["x"]}).encode() + b"\n"
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    path = tmp_path / "x.rec"
    path.write_bytes(packed(HEAD, {}) + gzip.compress(body + (tmp_path / "x.npy").read_bytes()))
    with pytest.raises(RecordingError, match=r"damaged in the record .* allow_pickle=False"):
        list(read_records(path))


def test_a_missing_file_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(
        RecordingError, match=r"none.rec' cannot be read: No such file or directory; expected"
    ):
        list(read_records(tmp_path / "none.rec"))
    with pytest.raises(
        RecordingError, match=r"a.rec' cannot be written: No such file or directory; expected"
    ):
        RecordWriter(tmp_path / "none" / "a.rec")


def test_a_full_disk() -> None:
    writer = RecordWriter("/dev/full")
    with pytest.raises(RecordingError, match="'/dev/full' cannot be written: No space left on device; "):
        writer.write("recording", {"format": 1})


def test_a_disk_that_fills_up_leaves_whole_records(tmp_path: Path) -> None:
    """The kernel takes a part of the record, then no more: that part is taken back."""
    writer, path = RecordWriter(tmp_path / "a.rec"), tmp_path / "a.rec"
    writer.write("recording", {"format": 1})
    whole = path.stat().st_size
    noise = np.random.default_rng(1).integers(0, 256, 10_000, np.uint8)
    with (
        room_for(whole + 4096),
        pytest.raises(RecordingError, match=r"a\.rec' cannot be written: File too lar"),
    ):
        writer.write("job", {}, noise=noise)
    assert path.stat().st_size == whole
    assert not writer.is_open
    assert [record.kind for record in read_records(path) if isinstance(record, Record)] == ["recording"]


def test_nothing_is_added_to_a_closed_recording(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "a.rec")
    writer.close()
    writer.close()
    with pytest.raises(RecordingError, match="is closed; nothing can be added to it"):
        writer.write("job", {})


def test_members_are_plain_gzip() -> None:
    raw = packed(HEAD, {})
    assert zlib.decompress(raw, 31) == json.dumps(HEAD).encode() + b"\n"
