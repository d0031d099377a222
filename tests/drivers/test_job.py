# SPDX-License-Identifier: BSD-2-Clause
"""The job descriptor's bytes."""

from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spatten_drivers import LayerJob
from spatten_drivers.fields import reserved_bits
from spatten_drivers.job import (
    HEAD_ENTRY,
    HEADER_BYTES,
    HEADER_WORDS,
    JOB_MAGIC,
    JOB_WORDS,
    decode_header,
    decode_tables,
    descriptor_bytes,
    encode_job,
)

FIELDS = [f for word in JOB_WORDS for f in word.fields]
COUNTS = ("n_heads", "n_keys", "n_queries", "descriptor_bytes")


@st.composite
def jobs(draw: st.DrawFn) -> LayerJob:
    """Any header and any tables: encoding checks nothing but widths."""
    heads = draw(st.lists(st.tuples(*[st.integers(0, 255)] * 2, *[st.integers(0, 65535)] * 2), max_size=8))
    keys, queries = (draw(st.lists(st.integers(0, 65535), max_size=40)) for _ in range(2))
    fields = {f.name: draw(st.integers(0, f.mask)) for f in FIELDS if f.name not in COUNTS}
    fields |= {"n_heads": len(heads), "n_keys": len(keys), "n_queries": len(queries)}
    table = np.array([(a, b, c, d, a, b) for a, b, c, d in heads], HEAD_ENTRY)
    return LayerJob(fields, table, np.array(keys, np.uint16), np.array(queries, np.uint16))


@given(job=jobs(), beat=st.sampled_from((4, 8, 16, 32, 64)))
def test_round_trip(job: LayerJob, beat: int) -> None:
    raw = encode_job(job, beat)
    assert raw.size == descriptor_bytes(job.fields, beat)
    assert raw.size % beat == 0
    fields = decode_header(raw)
    assert fields == {**job.fields, "descriptor_bytes": raw.size}
    decoded = decode_tables(fields, raw, beat)
    for name in ("heads", "keys", "queries"):
        np.testing.assert_array_equal(getattr(decoded, name), getattr(job, name))


def test_bytes_of_a_small_descriptor() -> None:
    """Written by hand from section 9 of the contract."""
    fields = {"n_heads": 1, "n_keys": 2, "n_queries": 1, "causal": 1, "q_bits": 12, "decay": 65536}
    fields |= {"k_policy": 3, "value_limit": 0x4321, "refetch_shift": 17}
    heads = np.array([(3, 17, 0x1234, 0x5678, 9, 0)], HEAD_ENTRY)
    raw = encode_job(LayerJob(fields, heads, np.array([0, 0x8005]), np.array([5])), 4).tobytes()
    assert raw[:8] == b"SPTJ" + bytes([1, 0, 1, 0])
    assert raw[8:12] == (256 + 8 + 4 + 4).to_bytes(4, "little")
    assert raw[24:28] == bytes([0, 1, 0, 0])
    assert raw[44:48] == bytes([12, 0, 0x30, 0])
    assert raw[48:52] == bytes([0xFF] * 4)
    assert raw[52:56] == bytes([0, 0, 1, 0])
    assert raw[108:112] == bytes([0x21, 0x43, 17, 0])
    assert raw[112:256] == bytes(144)
    assert raw[256:] == bytes([3, 17, 0x34, 0x12, 0x78, 0x56, 9, 0, 0, 0, 5, 0x80, 5, 0, 0, 0])


def test_key_list() -> None:
    job = LayerJob(
        {}, np.zeros(0, HEAD_ENTRY), np.array([1, 0x8002, 0x7FFF], np.uint16), np.zeros(0, np.uint16)
    )
    assert job.key_slots.tolist() == [1, 2, 0x7FFF]
    assert job.protected.tolist() == [False, True, False]


def test_words_do_not_overlap_and_the_rest_is_reserved() -> None:
    for word in JOB_WORDS:
        assert not any(a.mask << a.lsb & b.mask << b.lsb for a, b in combinations(word.fields, 2))
    masks = reserved_bits(JOB_WORDS, HEADER_WORDS)
    assert masks[6] == 0xFFFFF800
    assert masks[10] == 0xFF000000
    assert masks[11] == 0xFF000000
    assert masks[13] == 0xFFFE0000
    assert masks[12] == 0
    assert masks[27] == 0xFFE00000
    assert (masks[28:] == 0xFFFFFFFF).all()
    assert HEADER_BYTES == 256
    assert JOB_MAGIC.to_bytes(4, "little") == b"SPTJ"
