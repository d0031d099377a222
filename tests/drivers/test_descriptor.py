# SPDX-License-Identifier: BSD-2-Clause
"""A descriptor and its queries from floats: both kernels write the same bytes and refuse the same numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spatten_drivers.descriptor import Contents, Room, describer
from spatten_drivers.errors import OperandError
from spatten_drivers.job import (
    PROTECTED_BIT,
    JobTemplate,
    decode_header,
    decode_tables,
    table_places,
)
from spatten_drivers.model import KERNELS
from spatten_drivers.planes import MSB_WIDTHS, row_bytes
from spatten_drivers.quantize import fixed_point

DIM, BEAT = 32, 16
TEMPLATE = JobTemplate({"head_dim": DIM, "total_heads": 12, "k_msb_address": 0xFFFFFFF0})
KEYS, SLOTS = np.array([0, 3, 258, 16383]), np.array([258, 16383])


def described(
    kernel: str, queries: NDArray[Any], k_scale: NDArray[np.float64], bits: int, **fields: int
) -> NDArray[np.uint8]:
    """The bytes of a job of four keys, of which the first and the last are protected."""
    heads = np.arange(len(queries)) * 2 + 1
    counts = {"n_heads": len(heads), "n_keys": len(KEYS), "n_queries": queries.shape[1]}
    keys_at, slots_at, end = table_places(*counts.values(), BEAT)
    row = row_bytes(DIM, bits, BEAT)
    own = {**counts, "descriptor_bytes": end, "q_bits": bits, "decay": 65536, **fields}
    memory = np.zeros(end + queries.shape[0] * queries.shape[1] * row, np.uint8)
    gains = np.array([(40000 + head, head) for head in heads])
    shielded = np.array([True, False, False, True])
    contents = Contents(
        queries, bits, k_scale, DIM**-0.5, gains, heads, KEYS, SLOTS[: queries.shape[1]], shielded
    )
    room = Room(memory, keys_at, slots_at, end, row)
    job = decode_tables(TEMPLATE.fields | own, memory, BEAT)
    describer(kernel)(job, TEMPLATE, own, contents, room)
    return memory


def some_queries(heads: int, count: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((heads, count, DIM)).astype(np.float32)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_stands_in_it(kernel: str) -> None:
    queries, k_scale = some_queries(3, 2), np.array([1.0, 2.0, 0.25])
    memory = described(kernel, queries, k_scale, 8, job_id=0xFFFFFFFF, causal=1)
    fields = decode_header(memory)
    assert fields["job_id"] == 0xFFFFFFFF
    assert fields["k_msb_address"] == 0xFFFFFFF0
    assert [fields[name] for name in ("causal", "n_keys", "q_bits", "decay")] == [1, 4, 8, 65536]
    job = decode_tables(fields, memory, BEAT)
    assert job.heads["head_id"].tolist() == [1, 3, 5]
    assert job.heads["importance_mult"].tolist() == [40001, 40003, 40005]
    assert job.heads["importance_shift"].tolist() == [1, 3, 5]
    assert job.keys.tolist() == [PROTECTED_BIT, 3, 258, 16383 | PROTECTED_BIT]
    assert job.queries.tolist() == SLOTS.tolist()
    scale = np.abs(queries).max(axis=(1, 2)).astype(np.float64) / 127
    wanted = scale * k_scale * DIM**-0.5 * np.log2(np.e) * 4096
    scores = fixed_point(wanted.tolist(), shift_range=(1, 48), what="score scale")
    assert [(mult, shift) for mult, shift in job.heads[["score_mult", "score_shift"]].tolist()] == scores
    rows = memory[fields["descriptor_bytes"] :].view(np.int8).reshape(queries.shape)
    np.testing.assert_array_equal(rows, np.rint(queries / scale[:, None, None]))


@given(seed=st.integers(0, 2**32 - 1), bits=st.sampled_from(MSB_WIDTHS), loudness=st.integers(-120, 20))
def test_the_same_bytes(seed: int, bits: int, loudness: int) -> None:
    """From a silent head to one whose multiplier takes the least shift."""
    generator = np.random.default_rng(seed)
    queries = generator.standard_normal((4, 2, DIM)).astype(np.float32)
    queries *= np.float32(2.0) ** generator.integers(-20, 1, (4, 1, 1))
    k_scale = np.exp2(generator.uniform(-20, 0, 4) + min(loudness, 0))
    k_scale[0] *= 2.0 ** max(loudness, 0) * (seed % 3)  # 0 now and then: nothing was stored
    answers = []
    for kernel in KERNELS:
        try:
            answers.append(described(kernel, queries, k_scale, bits).tobytes())
        except OperandError as error:
            answers.append(str(error).encode())
    assert answers[0] == answers[1]


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_it_cannot_be(kernel: str) -> None:
    queries = some_queries(2, 1)
    with pytest.raises(OperandError, match=r"^score scale is "):
        described(kernel, queries, np.array([1.0, 2.0**20]), 12)
    with pytest.raises(OperandError, match=r"^value_limit is 65536; expected 0 to 65535"):
        described(kernel, queries, np.ones(2), 12, value_limit=65536)
    with pytest.raises(OperandError, match=r"^keep_heads is -1; expected 0 to 255"):
        described(kernel, queries, np.ones(2), 12, keep_heads=-1)
    queries[1, 0, 3] = np.nan
    with pytest.raises(OperandError, match=r"NaN or infinity in head\(s\) \[1\]"):
        described(kernel, queries, np.ones(2), 12)
