# SPDX-License-Identifier: BSD-2-Clause
"""A job of one query, a step of generation: one call from the bytes in memory to the bytes in memory.

Such a job is small, and in NumPy most of its time goes to calls. This is for numba to compile. Sections are
those of ``docs/contract.md``. Every sum is exact in float64, so the order of additions is free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..answer import ANSWER_MAGIC, ANSWER_WORDS, BYTE_COUNTERS, Status, answer_bytes
from ..config import ABI_MAJOR
from ..fields import Table
from ..job import HEADER_BYTES, JOB_WORDS, PROTECTED_BIT, KeyPolicy, ValuePolicy, table_bytes
from ..planes import LSB_WIDTH, padded, row_bytes
from .checks import (
    Limits,
    entry_legal,
    geometry_legal,
    header_fault,
    identity_fault,
    lies_inside,
    plane_region,
    planes_legal,
    pruning_legal,
    region_fault,
    regions,
    share_legal,
    widths_legal,
)
from .importance import GAIN_SHIFT, HEAD_MAX, TOKEN_MAX
from .loops import (
    Elements,
    Int,
    Memory,
    Row,
    Slots,
    divide_row,
    drop_row,
    gain_row,
    greatest,
    unpack_rows,
    weigh_row,
)
from .traffic import byte_counts, lsb_rows

Words = NDArray[np.uint32]

_MIDPOINT = 1 << LSB_WIDTH - 1
_SLOT = PROTECTED_BIT - 1
_PREFERRED = 2.0**40  # above every token's importance


def _places(words: Any) -> tuple[NDArray[np.int64], ...]:
    """Word, lowest bit and mask of every field."""
    columns = zip(*(place[1:4] for place in Table(words).places), strict=True)
    return tuple(np.array(column, np.int64) for column in columns)


_WORD, _LSB, _MASK = _places(JOB_WORDS)
_ANSWER_WORD, _ANSWER_LSB, _ = _places(ANSWER_WORDS)
_COUNTER_WORD = np.array([counter.index for counter in BYTE_COUNTERS])


def run_step(memory: Memory, address: int, limits: Limits, reserved: Words, header: Any) -> tuple[int, bool]:
    """Check and run the job at ``address``, whose header lies in memory.

    Answers its status, and whether a refused job's answer address can be trusted.
    """
    beat, room = limits.beat_bytes, len(memory)
    words = memory[address : address + HEADER_BYTES].view(np.uint32)
    read_header(words, header.view(np.int64))
    h = header[0]
    fault = identity_fault(h, limits, room)
    if fault != Status.DONE:
        return fault, False
    fault = header_fault(h, limits, any_bit(words, reserved), address, room)
    if fault != Status.DONE:
        return fault, True
    sizes = table_bytes(h.n_heads, h.n_keys, h.n_queries, beat)
    heads_at = address + HEADER_BYTES
    keys_at = heads_at + sizes[0]
    queries_at = keys_at + sizes[1]
    # Copies: regions may overlap, and what was checked must stay so.
    heads = memory[heads_at : heads_at + 8 * h.n_heads].copy().reshape(h.n_heads, 8)
    keys = memory[keys_at : keys_at + 2 * h.n_keys].copy().view(np.uint16)
    query: Int = np.int64(memory[queries_at]) | np.int64(memory[queries_at + 1]) << 8
    if not lists_legal(h, heads, keys, query):
        return Status.BAD_LIST, True
    first_key: Int = np.int64(keys[0]) & _SLOT
    fault = region_fault(h, beat, room, first_key, query)
    if fault != Status.DONE:
        return fault, True
    compute(memory, h, limits, heads, keys, query)
    return Status.DONE, True


def read_header(words: Words, values: NDArray[np.int64]) -> None:
    """The fields of a descriptor's header, in their order."""
    for i in range(len(values)):
        values[i] = np.int64(words[_WORD[i]]) >> _LSB[i] & _MASK[i]


def any_bit(words: Words, mask: Words) -> bool:
    """Whether any bit of the mask is set."""
    found = np.uint32(0)
    for i in range(len(words)):
        found |= words[i] & mask[i]
    return bool(found != 0)


def lists_legal(h: Any, heads: Memory, keys: NDArray[np.uint16], query: Int) -> bool:
    """The checks of the head table, the key list and the only query."""
    last: Int = -1
    for i in range(h.n_heads):
        if heads[i, 0] <= last or not entry_legal(heads[i, 1], heads[i, 6], heads[i, 7]):
            return False
        last = np.int64(heads[i, 0])
    if last >= h.total_heads:
        return False
    last, shielded = -1, 0
    for key in keys:
        slot = np.int64(key) & _SLOT
        if slot <= last:
            return False
        last = slot
        shielded += key >= PROTECTED_BIT
    return bool(last < h.n_slots and query < h.n_slots and shielded <= h.keep_tokens)


def compute(
    memory: Memory, h: Any, limits: Limits, heads: Memory, keys: NDArray[np.uint16], query: Int
) -> None:
    """Run a checked job and write all that it answers."""
    slots = keys.astype(np.int64) & _SLOT
    seen = len(slots)
    if h.causal:
        while slots[seen - 1] > query:
            seen -= 1
    gain = np.zeros(len(slots))
    output, loudness = np.empty((h.n_heads, h.head_dim), np.int16), np.empty(h.n_heads, np.int64)
    redone, lsb_values, lsb_keys, values = attend(
        memory, h, limits.beat_bytes, heads, slots[:seen], gain, output, loudness
    )
    write_outputs(memory, h, limits.beat_bytes, output)
    tokens = update_tokens(memory, h, limits.beat_bytes, keys, slots, gain)
    survivors = update_heads(memory, h, limits.beat_bytes, heads, loudness)
    write_list(memory, h.answer_address + HEADER_BYTES, tokens, limits.beat_bytes)
    after = h.answer_address + HEADER_BYTES + padded(2 * len(tokens), limits.beat_bytes)
    write_list(memory, after, survivors, limits.beat_bytes)
    read = h.n_heads * seen
    counts = byte_counts(
        h,
        limits.beat_bytes,
        read,
        lsb_rows(h.k_policy, read, lsb_keys),
        values,
        lsb_rows(h.v_policy, values, lsb_values),
    )
    fields = (
        ANSWER_MAGIC,
        limits.abi_minor,
        ABI_MAJOR,
        h.job_id,
        np.int64(Status.DONE),
        limits.digest_lo,
        limits.digest_hi,
        len(tokens),
        len(survivors),
        redone,
        read,
        values,
    )
    write_header(memory[h.answer_address : h.answer_address + HEADER_BYTES].view(np.uint32), fields, counts)


def attend(
    memory: Memory,
    h: Any,
    beat: int,
    heads: Memory,
    slots: Slots,
    gain: Row,
    output: NDArray[np.int16],
    loudness: NDArray[np.int64],
) -> tuple[Int, Int, Int, Int]:
    """All heads (sections 4 to 6).

    Answers how many rows refetched, how many values they read, how many keys were read twice, and how many
    values were read at all.
    """
    k, v = tensors(h, beat)
    midpoint = _MIDPOINT if h.v_lsb_bits else 0
    first = np.zeros(1, np.int64)  # the only query is the first of its head
    rows, low = np.empty((len(slots), h.head_dim), np.int16), np.empty((len(slots), h.head_dim), np.int16)
    query, total, scores = np.empty(h.head_dim), np.empty(h.head_dim), np.empty(len(slots))
    refetched = lsb_values = lsb_keys = values = np.int64(0)
    size = row_bytes(h.head_dim, h.q_bits, beat)
    for i in range(h.n_heads):
        head = np.int64(heads[i, 0])
        unpack_rows(memory, h.q_address + i * size, size, first, (h.q_bits, 1, 0, 0), rows)
        factor = (np.int64(heads[i, 2]) | np.int64(heads[i, 3]) << 8) * 2.0 ** -np.int64(heads[i, 1])
        for d in range(h.head_dim):
            query[d] = rows[0, d] * factor
        read_rows(memory, k, head, slots, h.k_policy == KeyPolicy.ALWAYS, 0, rows, low)
        for n in range(len(slots)):
            scores[n] = dot(query, rows[n])
        weight_sum, again = weigh(memory, h, k, head, slots, query, scores, low)
        unit, inverse = gain_row(gain[: len(slots)], scores, weight_sum)
        kept = drop_row(scores, h.keep_values, h.value_limit)
        chosen = np.flatnonzero(scores)
        whole = h.v_policy == ValuePolicy.ALWAYS or (h.v_policy == ValuePolicy.ON_REFETCH and again > 0)
        read_rows(memory, v, head, slots[chosen], whole, midpoint, rows, low)
        total[:] = 0.0
        for n in range(len(chosen)):
            add_row(total, scores[chosen[n]], rows[n])
        loudness[i] = divide_row(total, unit, inverse, h.v_msb_bits + h.v_lsb_bits, output[i])
        values += kept
        lsb_keys += again
        if again:
            refetched += 1
            lsb_values += kept
    return refetched, lsb_values, lsb_keys, values


def tensors(h: Any, beat: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of K and of V: address, stride, bytes of a row and width of the MSB plane, then of the LSB plane."""
    k_row, k_low = row_bytes(h.head_dim, h.k_msb_bits, beat), row_bytes(h.head_dim, h.k_lsb_bits, beat)
    v_row, v_low = row_bytes(h.head_dim, h.v_msb_bits, beat), row_bytes(h.head_dim, h.v_lsb_bits, beat)
    k = (
        h.k_msb_address,
        h.k_msb_stride,
        k_row,
        h.k_msb_bits,
        h.k_lsb_address,
        h.k_lsb_stride,
        k_low,
        h.k_lsb_bits,
    )
    v = (
        h.v_msb_address,
        h.v_msb_stride,
        v_row,
        h.v_msb_bits,
        h.v_lsb_address,
        h.v_lsb_stride,
        v_low,
        h.v_lsb_bits,
    )
    return k, v


def read_rows(
    memory: Memory,
    tensor: tuple[int, ...],
    head: Int,
    slots: Slots,
    whole: bool,
    unread: Int,
    rows: Elements,
    low: Elements,
) -> None:
    """Rows of K or V with their LSBs, or with ``unread`` in their place."""
    coding = (tensor[3], 1, tensor[7], np.int64(0) if whole else unread)
    unpack_rows(memory, tensor[0] + head * tensor[1], tensor[2], slots, coding, rows)
    if whole:
        read_lsbs(memory, tensor, head, slots, 0, low)
        for n in range(len(slots)):
            for d in range(rows.shape[1]):
                rows[n, d] += low[n, d]


def read_lsbs(
    memory: Memory, tensor: tuple[int, ...], head: Int, slots: Slots, offset: Int, low: Elements
) -> None:
    """LSB planes of rows, ``offset`` added to each element."""
    coding = (tensor[7], 0, 0, offset)
    unpack_rows(memory, tensor[4] + head * tensor[5], tensor[6], slots, coding, low)


def dot(query: Row, row: Elements) -> float:
    """The product of a query and a row of K."""
    total = 0.0
    for d in range(len(query)):
        total += query[d] * row[d]
    return total


def add_row(total: Row, weight: float, row: Elements) -> None:
    """Add a row of V by its weight."""
    for d in range(len(total)):
        total[d] += weight * row[d]


def weigh(
    memory: Memory,
    h: Any,
    k: tuple[int, ...],
    head: Int,
    slots: Slots,
    query: Row,
    scores: Row,
    low: Elements,
) -> tuple[int, int]:
    """Scores of the first pass become weights, after a second pass where the job's policy asks for one.

    Answers their sum, and how many keys took the LSB plane in a second pass (section 4).
    """
    if h.k_policy < KeyPolicy.PROGRESSIVE:
        return weigh_row(scores), 0
    kept = scores.copy()
    total = weigh_row(scores)
    if h.k_policy == KeyPolicy.PROGRESSIVE:
        if total <= h.refetch_limit:
            return total, 0
        read_lsbs(memory, k, head, slots, 0, low)
        for n in range(len(slots)):
            scores[n] = kept[n] + dot(query, low[n])
        return weigh_row(scores), len(slots)
    picked = np.flatnonzero(scores > total * 2.0**-h.refetch_shift)
    if len(picked):
        read_lsbs(memory, k, head, slots[picked], -_MIDPOINT, low)
        peak = -np.inf
        for n in range(len(picked)):
            kept[picked[n]] += dot(query, low[n])
            peak = max(peak, kept[picked[n]])
        for n in range(len(slots)):  # what stands above the best of the redone keys counts as much as it
            scores[n] = min(kept[n], peak)
        total = weigh_row(scores)
    return total, len(picked)


def write_outputs(memory: Memory, h: Any, beat: int, output: NDArray[np.int16]) -> None:
    """Output rows, each padded to beats."""
    row = padded(2 * h.head_dim, beat)
    for i in range(h.n_heads):
        start = h.output_address + i * row
        for d in range(h.head_dim):
            memory[start + 2 * d] = output[i, d] & 0xFF
            memory[start + 2 * d + 1] = output[i, d] >> 8 & 0xFF
        for place in range(start + 2 * h.head_dim, start + row):
            memory[place] = 0


def update_tokens(
    memory: Memory, h: Any, beat: int, keys: NDArray[np.uint16], slots: Slots, gain: Row
) -> NDArray[np.uint16]:
    """Running token importance (section 6); answers the surviving entries of the key list (section 7)."""
    start = h.token_importance_address
    words = memory[start : start + padded(4 * h.n_slots, beat)].view(np.uint32)
    words[h.n_slots if h.add_tokens else 0 :] = 0
    rank = np.empty(len(slots))
    for n in range(len(slots)):
        fresh = (np.int64(words[slots[n]]) * h.decay >> 16) + (
            (np.int64(gain[n]) + (1 << GAIN_SHIFT - 1)) >> GAIN_SHIFT
        )
        fresh = min(fresh, TOKEN_MAX)
        words[slots[n]] = fresh
        rank[n] = fresh + (_PREFERRED if keys[n] >= PROTECTED_BIT else 0.0)
    return survivors_of(keys, rank, h.keep_tokens)


def update_heads(
    memory: Memory, h: Any, beat: int, heads: Memory, loudness: NDArray[np.int64]
) -> NDArray[np.uint16]:
    """Running head importance; answers the surviving head ids."""
    start = h.head_importance_address
    words = memory[start : start + padded(8 * h.total_heads, beat)].view(np.uint32)
    words[2 * h.total_heads if h.add_heads else 0 :] = 0
    rank, ids = np.empty(h.n_heads), np.empty(h.n_heads, np.uint16)
    for i in range(h.n_heads):
        head, shift = np.int64(heads[i, 0]), np.int64(heads[i, 6])
        mult = np.int64(heads[i, 4]) | np.int64(heads[i, 5]) << 8
        old = np.int64(words[2 * head]) | np.int64(words[2 * head + 1]) << 32
        fresh = min(old + ((loudness[i] * mult + (1 << shift >> 1)) >> shift), HEAD_MAX)
        words[2 * head], words[2 * head + 1] = fresh & 0xFFFFFFFF, fresh >> 32
        rank[i], ids[i] = fresh, head
    return survivors_of(ids, rank, h.keep_heads)


def survivors_of(entries: NDArray[np.uint16], rank: Row, keep: int) -> NDArray[np.uint16]:
    """The ``keep`` entries of the greatest rank in their order, ties to the lower index (section 7)."""
    if keep == len(entries):
        return entries
    border, ties = greatest(rank, keep)
    chosen, n = np.empty(keep, np.uint16), 0
    for i in range(len(entries)):
        tied = rank[i] == border
        if rank[i] > border or (tied and ties > 0):
            chosen[n] = entries[i]
            n += 1
        ties -= tied
    return chosen


def write_list(memory: Memory, start: int, entries: NDArray[np.uint16], beat: int) -> None:
    """A list of survivors, padded to beats."""
    size = 2 * len(entries)
    for i in range(len(entries)):
        memory[start + 2 * i] = entries[i] & 0xFF
        memory[start + 2 * i + 1] = entries[i] >> 8
    for place in range(start + size, start + padded(size, beat)):
        memory[place] = 0


def write_header(words: Words, fields: tuple[Int, ...], counts: tuple[int, ...]) -> None:
    """The answer's header: fields and byte counters in the order of their tables."""
    words[:] = 0
    for i in range(len(fields)):
        words[_ANSWER_WORD[i]] |= np.uint32(fields[i] << _ANSWER_LSB[i])
    for i in range(len(counts)):
        words[_COUNTER_WORD[i]] = counts[i] & 0xFFFFFFFF
        words[_COUNTER_WORD[i] + 1] = counts[i] >> 32


#: To compile behind those of :mod:`~spatten_drivers.model.loops`, in the order of who is called by whom.
FUNCTIONS = (
    *(padded, row_bytes, answer_bytes, table_bytes, lsb_rows, byte_counts),
    *(
        lies_inside,
        identity_fault,
        geometry_legal,
        pruning_legal,
        planes_legal,
        share_legal,
        widths_legal,
        header_fault,
    ),
    *(entry_legal, plane_region, regions, region_fault, read_header, any_bit, lists_legal),
    *(dot, add_row, read_lsbs, read_rows, weigh, tensors, attend),
    *(write_outputs, survivors_of, update_tokens, update_heads, write_list, write_header, compute, run_step),
)
EXACT = (dot, add_row)
