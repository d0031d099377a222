# SPDX-License-Identifier: BSD-2-Clause
"""The answer's bytes, comparison of two answers, and what a dense job would have fetched."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers import JobAnswer, LayerJob, Status
from spatten_drivers.answer import (
    ANSWER_WORDS,
    COUNTERS,
    STATUS_HELP,
    answer_bytes,
    decode_header,
    dense_rows,
    encode_header,
)
from spatten_drivers.job import HEAD_ENTRY

FIELDS = [f for word in ANSWER_WORDS for f in word.fields]


@given(data=st.data())
def test_header_round_trip(data: st.DataObject) -> None:
    fields = {f.name: data.draw(st.integers(0, f.mask)) for f in FIELDS}
    counters = {c.name: data.draw(st.integers(0, (1 << 64) - 1)) for c in COUNTERS}
    raw = encode_header(fields, counters)
    assert raw.size == 256
    assert decode_header(raw) == (fields, counters)


def test_bytes_of_a_header() -> None:
    raw = encode_header({"job_id": 7, "status": Status.DONE}, {"read_k_msb": (5 << 32) + 3}).tobytes()
    assert raw[:16] == b"SPTA" + bytes([1, 0, 1, 0, 7, 0, 0, 0, 1, 0, 0, 0])
    assert raw[56:64] == bytes([3, 0, 0, 0, 5, 0, 0, 0])


def test_every_status_is_explained() -> None:
    assert list(STATUS_HELP) == list(Status)


def test_answer_bytes() -> None:
    assert answer_bytes(9, 1, 16) == 256 + 32 + 16
    assert answer_bytes(9, 1, 4) == 256 + 20 + 4


def an_answer() -> JobAnswer:
    fields = {"status": 1, "job_id": 1}
    counters = {c.name: 1 for c in COUNTERS}
    tokens, heads = np.array([1, 0x8002], np.uint16), np.array([0], np.uint16)
    output = np.zeros((1, 2, 32), np.int16)
    return JobAnswer(fields, counters, output, tokens, heads, np.ones(3, np.uint32), np.ones(1, np.uint64))


def test_the_same_bits() -> None:
    answer = an_answer()
    assert answer.same_bits(an_answer())
    assert answer.same_bits(replace(answer, counters={**answer.counters, "cycles": 99, "stall_topk": 5}))
    assert answer.status is Status.DONE
    assert answer.token_slots.tolist() == [1, 2]


@pytest.mark.parametrize("name", ["output", "tokens", "heads", "token_importance", "head_importance"])
def test_an_array_that_differs(name: str) -> None:
    answer = an_answer()
    changed = getattr(answer, name).copy()
    changed.flat[-1] += 1
    assert answer.differences(replace(answer, **{name: changed})) == [name]
    assert answer.differences(replace(answer, **{name: changed[..., :0]})) == [name]


def test_a_number_that_differs() -> None:
    answer = an_answer()
    other = replace(answer, fields={**answer.fields, "status": 2}, counters={**answer.counters, "read_q": 2})
    assert answer.differences(other) == ["field status", "read_q"]


@pytest.mark.parametrize(
    ("causal", "queries", "buffer_rows", "rows"),
    [
        (0, [1, 3], 8, 2 * 6),  # reuse: every slot once a head
        (1, [1, 3], 8, 2 * 6),
        (0, [1, 3], 2, 2 * 12),  # stream: every slot for every query
        (1, [1, 3], 2, 2 * (2 + 4)),
        (1, [3], 8, 2 * 4),  # one query has nothing to reuse
    ],
)
def test_dense_rows(causal: int, queries: list[int], buffer_rows: int, rows: int) -> None:
    fields = {"causal": causal, "total_heads": 2, "n_slots": 6, "n_keys": 4, "n_queries": len(queries)}
    job = LayerJob(
        fields, np.zeros(1, HEAD_ENTRY), np.arange(4, dtype=np.uint16), np.array(queries, np.uint16)
    )
    assert dense_rows(job, buffer_rows) == rows
