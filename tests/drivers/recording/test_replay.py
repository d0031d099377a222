# SPDX-License-Identifier: BSD-2-Clause
"""A replay finds what differs, all of it and nothing else, and refuses files and devices that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatten_drivers import Emulator, allocate
from spatten_drivers.errors import RecordingError
from spatten_drivers.model import available_kernels
from spatten_drivers.recording import Recorder, Recording, replay
from spatten_drivers.recording.store import RecordWriter, read_records

from .devices import MEMORY, OTHER_CONFIG, emulator, flipping_a_bit, growing, ignoring, three_layers


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three layers of a text, then a prompt and four steps: eight jobs."""
    path = tmp_path_factory.mktemp("replay") / "a.rec"
    with Recorder(emulator(), path) as device:
        three_layers(device)
        growing(device)
    return path


def test_equal(path: Path) -> None:
    seen: list[int] = []
    report = replay(path, emulator(), begin=seen.append, step=lambda: seen.append(0))
    assert seen == [8] + [0] * 8
    assert (report.jobs, report.equal, report.skipped, report.differences) == (8, 8, 0, [])
    assert report.same_bits
    assert report.cut == ""
    assert report.to_dict()["same_bits"] is True


@pytest.mark.skipif("numba" not in available_kernels(), reason="numba is not installed")
def test_numba_gives_what_numpy_gave(path: Path) -> None:
    assert replay(path, emulator(kernel="numba")).equal == 8


def test_a_wrong_bit_is_found_where_it_is(path: Path) -> None:
    report = replay(path, flipping_a_bit("output", 64 + 2 * 9, lambda f: f["job_id"] == 2))
    assert report.equal == 6  # both runs count their jobs from 1
    assert not report.same_bits
    first, second = report.differences
    assert (first.job, first.job_id, first.layer) == (2, 2, 0)
    assert first.difference.field == "output"
    assert first.difference.index[2] == 9
    assert first.difference.expected ^ first.difference.got == 4
    assert str(first) == f"job 2 (id 2, layer 0): {first.difference}"
    assert second.job == 5


def test_a_difference_spoils_no_job_behind_it(path: Path) -> None:
    """Running importance goes from job to job; each job is judged by itself."""
    report = replay(path, flipping_a_bit("token_importance", 1, lambda f: f["job_id"] == 1))
    assert [d.job for d in report.differences] == [1, 4]
    assert {d.difference.field for d in report.differences} == {"token_importance"}


@pytest.mark.parametrize(
    ("field", "value", "jobs"), [("keep_values", 0xFFFF, {4, 5, 6, 7, 8}), ("decay", 0, {2, 3, 5, 6, 7, 8})]
)
def test_a_field_that_is_ignored(path: Path, field: str, value: int, jobs: set[int]) -> None:
    """Found in each job where the field matters."""
    found = {d.job for d in replay(path, ignoring(field, value)).differences}
    assert found == jobs


def test_another_configuration(path: Path) -> None:
    with pytest.raises(RecordingError) as error:
        replay(path, Emulator(OTHER_CONFIG, memory_bytes=MEMORY))
    assert str(error.value) == (
        f"recording {str(path)!r} was made on emulator of another configuration than emulator (config "
        f"{OTHER_CONFIG.digest:016x}): lanes is 64 there and 32 here, max_heads is 16 there and 8 here. Play "
        f"it on a device of digest {emulator().config.digest:016x}"
    )


def test_too_little_memory(path: Path) -> None:
    with pytest.raises(
        RecordingError, match=r"job 1 uses memory up to 0x[0-9a-f]+; emulator .* has 0x2000 bytes"
    ):
        replay(path, emulator(memory_bytes=8192))


def test_memory_in_use(path: Path) -> None:
    device = emulator()
    buffer = allocate(64, "u1", device)
    with pytest.raises(RecordingError, match="has 64 bytes of memory in use, which a replay would overwrite"):
        replay(path, device)
    buffer.freebuffer()
    assert replay(path, device).equal == 8
    assert replay(path, device).equal == 8  # whatever the last one left


def ends(path: Path) -> list[tuple[str, int]]:
    """Kind of each record, and where it ends."""
    records = list(read_records(path))
    stops = [*(record.offset for record in records[1:]), path.stat().st_size]
    return [(record.kind, stop) for record, stop in zip(records, stops, strict=True)]


@given(st.data())
@settings(max_examples=15)
def test_a_cut_recording_plays_up_to_its_last_whole_job(
    path: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut at the end of a record, one byte before or behind it, or anywhere."""
    stops = ends(path)
    near = st.sampled_from([stop + step for _, stop in stops[:-1] for step in (-1, 0, 1)])
    size = data.draw(near | st.integers(stops[0][1], path.stat().st_size - 1), "bytes left")
    cut = tmp_path_factory.mktemp("cut") / "cut.rec"
    cut.write_bytes(path.read_bytes()[:size])
    if size < stops[0][1]:
        with pytest.raises(RecordingError, match="ends in its first record; it holds no job"):
            Recording(cut)
        return
    report = replay(cut, emulator())
    whole = [kind for kind, stop in stops if stop <= size]
    assert report.equal == whole.count("answer")
    assert report.skipped == whole.count("job") - whole.count("answer")
    assert report.same_bits
    inside = size not in [stop for _, stop in stops]
    assert report.cut.startswith(
        "the file ends in the middle" if inside else "the recording was never closed"
    )


def test_damage_is_found_before_anything_is_played(path: Path, tmp_path: Path) -> None:
    raw, played = bytearray(path.read_bytes()), []
    raw[ends(path)[9][1] - 8] ^= 0x10  # in a checksum
    (tmp_path / "bad.rec").write_bytes(raw)
    with pytest.raises(RecordingError, match="damaged in the record that begins at byte"):
        replay(tmp_path / "bad.rec", emulator(), step=lambda: played.append(0))
    assert played == []


def rewritten(path: Path, out: Path, change: dict[str, dict[str, object]]) -> Path:
    """The recording with the heads of some kinds of record changed; checksums are right."""
    writer = RecordWriter(out)
    for record in read_records(path):
        head = {k: v for k, v in record.head.items() if k not in ("record", "arrays")}
        writer.write(record.kind, {**head, **change.get(record.kind, {})}, **record.arrays)
    writer.close()
    return out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"answer": {"digest": "00"}}, "the digest of the answer is another one"),
        ({"answer": {"number": 7}}, "an answer to no job"),
        ({"answer": {"regions": {"nowhere": 0}}}, "KeyError('nowhere')"),
        ({"answer": {"regions": {"output": 0}}}, "the digest of the answer is another one"),
        ({"job": {"registers": [["IDENTITY", 1]]}}, "1 written to IDENTITY"),
        ({"job": {"registers": [["NOBODY", 1]]}}, "KeyError('NOBODY')"),
        ({"recording": {"config": {}}}, "configuration record differs in the fields"),
        ({"recording": {"memory_bytes": "many"}}, "invalid literal for int()"),
    ],
)
def test_records_that_make_no_sense(
    path: Path, tmp_path: Path, change: dict[str, dict[str, object]], what: str
) -> None:
    with pytest.raises(RecordingError) as error:
        Recording(rewritten(path, tmp_path / "odd.rec", change)).checked_jobs()
    assert what in str(error.value)
    assert "makes no sense" in str(error.value)


def test_the_digest_of_another_configuration(path: Path, tmp_path: Path) -> None:
    odd = rewritten(path, tmp_path / "odd.rec", {"recording": {"config_digest": "0" * 16}})
    with pytest.raises(RecordingError, match=r"in contract 1\.1\. Record again"):
        Recording(odd)


def test_answers_are_readable_without_the_driver(path: Path) -> None:
    job = next(iter(Recording(path)))
    assert job.outcome is not None
    assert set(job.regions) == set(job.outcome.parts)
    assert all(part.dtype == np.uint8 for part in job.outcome.parts.values())
