# SPDX-License-Identifier: BSD-2-Clause
"""A job of one query, a step of generation: one call from the bytes in memory to the bytes in memory.

Such a job is small, and in NumPy most of its time goes to calls. This is for numba to compile. Sections are
those of ``docs/contract.md``. Every sum is exact in float64, so the order of additions is free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..answer import ANSWER_MAGIC, Status, answer_bytes
from ..config import ABI_MAJOR
from ..fields import Table
from ..job import ENTRY_BYTES, HEADER_BYTES, JOB_WORDS, PROTECTED_BIT, SLOT_MASK, table_places
from ..planes import padded
from . import step_answer, step_rows
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
from .loops import Int, Memory
from .step_answer import Words, update_heads, update_tokens, write_header, write_list, write_outputs
from .step_rows import attend
from .traffic import byte_counts, lsb_rows

_PLACES = Table(JOB_WORDS).places
_WORD, _LSB, _MASK = (np.array([place[column] for place in _PLACES], np.int64) for column in (1, 2, 3))


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
    places = table_places(h.n_heads, h.n_keys, h.n_queries, beat)
    heads_at, keys_at, queries_at = address + HEADER_BYTES, address + places[0], address + places[1]
    # Copies: regions may overlap, and what was checked must stay so.
    heads = memory[heads_at : heads_at + ENTRY_BYTES * h.n_heads].copy().reshape(h.n_heads, ENTRY_BYTES)
    keys = memory[keys_at : keys_at + 2 * h.n_keys].copy().view(np.uint16)
    query: Int = np.int64(memory[queries_at]) | np.int64(memory[queries_at + 1]) << 8
    if not lists_legal(h, heads, keys, query):
        return Status.BAD_LIST, True
    first_key: Int = np.int64(keys[0]) & SLOT_MASK
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
        slot = np.int64(key) & SLOT_MASK
        if slot <= last:
            return False
        last = slot
        shielded += key >= PROTECTED_BIT
    return bool(last < h.n_slots and query < h.n_slots and shielded <= h.keep_tokens)


def compute(
    memory: Memory, h: Any, limits: Limits, heads: Memory, keys: NDArray[np.uint16], query: Int
) -> None:
    """Run a checked job and write all that it answers."""
    slots = keys.astype(np.int64) & SLOT_MASK
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


#: To compile behind those of :mod:`~spatten_drivers.model.loops`, in the order of who is called by whom.
FUNCTIONS = (
    *step_rows.FUNCTIONS,
    *step_answer.FUNCTIONS,
    *(answer_bytes, table_places, lsb_rows, byte_counts, lies_inside, identity_fault, geometry_legal),
    *(pruning_legal, planes_legal, share_legal, widths_legal, header_fault, entry_legal, plane_region),
    *(regions, region_fault, read_header, any_bit, lists_legal, compute, run_step),
)
EXACT = step_rows.EXACT
