# SPDX-License-Identifier: BSD-2-Clause
"""What counts in an answer: every bit but cycles and stalls, and the first one that differs is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatten_drivers import Status
from spatten_drivers.answer import ANSWER_WORDS, BYTE_COUNTERS, CYCLE_COUNTERS
from spatten_drivers.job import HEADER_BYTES, LayerJob, decode_header, decode_tables
from spatten_drivers.recording import Recorder, Recording
from spatten_drivers.recording.outcome import Outcome, first_difference

from .devices import emulator, three_layers

CYCLE_BYTES = {4 * c.index + i for c in CYCLE_COUNTERS for i in range(8)}
BEAT = 16


@pytest.fixture(scope="module")
def last(tmp_path_factory: pytest.TempPathFactory) -> tuple[LayerJob, Outcome]:
    """The last job of a run, and what it left: 2 of 3 heads, 6 of 10 tokens."""
    path = tmp_path_factory.mktemp("outcome") / "a.rec"
    with Recorder(emulator(), path) as device:
        three_layers(device)
    *_, job = Recording(path)
    assert job.outcome is not None
    return decode_tables(decode_header(job.descriptor), job.descriptor, BEAT), job.outcome


def changed(outcome: Outcome, part: str, byte: int, bit: int = 0) -> Outcome:
    raw = outcome.parts[part].copy()
    raw[byte] ^= 1 << bit
    return replace(outcome, parts={**outcome.parts, part: raw})


@given(st.data())
@settings(max_examples=100)
def test_every_bit_but_cycles_counts(last: tuple[LayerJob, Outcome], data: st.DataObject) -> None:
    job, outcome = last
    part = data.draw(st.sampled_from(sorted(outcome.parts)))
    byte = data.draw(st.integers(0, outcome.parts[part].size - 1))
    other = changed(outcome, part, byte, data.draw(st.integers(0, 7)))
    masked = part == "answer" and byte in CYCLE_BYTES
    for layout in (job, None):
        found = first_difference(outcome, other, layout, BEAT)
        assert (found is None) == masked
    assert (outcome.digest == other.digest) == masked
    assert first_difference(outcome, outcome, job, BEAT) is None


def test_fields_and_counters_are_named(last: tuple[LayerJob, Outcome]) -> None:
    job, outcome = last
    words = {f.name: 4 * w.index + f.lsb // 8 for w in ANSWER_WORDS for f in w.fields}
    counters = {c.name: 4 * c.index for c in BYTE_COUNTERS}
    for name, byte in (words | counters).items():
        found = first_difference(outcome, changed(outcome, "answer", byte), job, BEAT)
        assert found is not None
        assert (found.field, found.index) == (name, ())
        assert found.got == found.expected ^ 1


def test_places_are_called_as_in_the_job(last: tuple[LayerJob, Outcome]) -> None:
    """Heads by their id and queries by their slot; slots and heads of importance by themselves."""
    job, outcome = last
    head, slot = int(job.heads["head_id"][1]), int(job.queries[2])
    n_queries = job["n_queries"]
    cases = {
        ("output", 64 * (n_queries + 2) + 2 * 7): ("output", (head, slot, 7)),
        ("token_importance", 4 * 5): ("token_importance", (5,)),
        ("head_importance", 8 * 2): ("head_importance", (2,)),
        ("answer", HEADER_BYTES + 2 * 3): ("tokens", (3,)),
        ("answer", HEADER_BYTES + 16 + 2): ("heads", (1,)),
        ("answer", HEADER_BYTES + 15): ("answer byte", (15,)),  # padding
    }
    for (part, byte), expected in cases.items():
        found = first_difference(outcome, changed(outcome, part, byte), job, BEAT)
        assert found is not None
        assert (found.field, found.index) == expected
    found = first_difference(outcome, changed(outcome, "token_importance", 20), job, BEAT)
    words = outcome.parts["token_importance"].view("<u4")
    assert str(found) == f"token_importance[5]: expected {words[5]}, got {words[5] ^ 1}"


def test_status_comes_first_and_nonsense_is_none(last: tuple[LayerJob, Outcome]) -> None:
    job, outcome = last
    assert outcome.status is Status.DONE
    header = outcome.parts["answer"].copy()
    header[4 * 3 : 4 * 4] = 77, 0, 0, 0
    broken = replace(outcome, parts={**outcome.parts, "answer": header})
    assert broken.status is Status.PENDING
    assert str(first_difference(outcome, broken, job, BEAT)) == "status: expected DONE, got PENDING"
    assert replace(broken, error=int(Status.WATCHDOG)).status is Status.WATCHDOG


def test_a_region_of_another_length(last: tuple[LayerJob, Outcome]) -> None:
    job, outcome = last
    parts = {**outcome.parts, "output": np.zeros(16, "u1")}
    found = first_difference(outcome, replace(outcome, parts=parts), job, BEAT)
    assert found is not None
    assert (found.field, found.expected, found.got) == ("output bytes", outcome.parts["output"].size, 16)


def test_the_digest_of_the_file(last: tuple[LayerJob, Outcome], tmp_path: Path) -> None:
    """Cycles of another device change neither digest nor comparison."""
    _, outcome = last
    other = outcome
    for byte in CYCLE_BYTES:
        other = changed(other, "answer", byte)
    assert other.cycles != outcome.cycles == 0
    assert other.digest == outcome.digest
