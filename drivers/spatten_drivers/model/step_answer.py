# SPDX-License-Identifier: BSD-2-Clause
"""What a job of one query writes, as numba compiles it (``docs/contract.md``, sections 6 to 8 and 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..answer import ANSWER_WORDS, BYTE_COUNTERS
from ..fields import Table
from ..job import PROTECTED_BIT
from ..planes import padded
from .importance import GAIN_SHIFT, HEAD_MAX, TOKEN_MAX
from .loops import Elements, Int, Memory, Row, Slots, greatest

Words = NDArray[np.uint32]

_PREFERRED = 2.0**40  # above every token's importance
_PLACES = Table(ANSWER_WORDS).places
_WORD, _LSB = np.array([place[1] for place in _PLACES]), np.array([place[2] for place in _PLACES])
_COUNTER_WORD = np.array([counter.index for counter in BYTE_COUNTERS])


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
        beyond = words[2 * head + 1] >> 16  # memory may hold anything
        old = HEAD_MAX if beyond else np.int64(words[2 * head]) | np.int64(words[2 * head + 1]) << 32
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


def write_entries(memory: Memory, start: int, entries: Elements) -> None:
    """The lower two bytes of each entry."""
    for i in range(len(entries)):
        memory[start + 2 * i] = entries[i] & 0xFF
        memory[start + 2 * i + 1] = entries[i] >> 8 & 0xFF


def write_list(memory: Memory, start: int, entries: NDArray[np.uint16], beat: int) -> None:
    """A list of survivors, padded to beats."""
    size = 2 * len(entries)
    write_entries(memory, start, entries)
    for place in range(start + size, start + padded(size, beat)):
        memory[place] = 0


def write_header(words: Words, fields: tuple[Int, ...], counts: tuple[int, ...]) -> None:
    """The answer's header: fields and byte counters in the order of their tables."""
    words[:] = 0
    for i in range(len(fields)):
        words[_WORD[i]] |= np.uint32(fields[i] << _LSB[i])
    for i in range(len(counts)):
        words[_COUNTER_WORD[i]] = counts[i] & 0xFFFFFFFF
        words[_COUNTER_WORD[i] + 1] = counts[i] >> 32


#: To compile behind those of :mod:`~spatten_drivers.model.loops`, in the order of who is called by whom.
FUNCTIONS = (
    *(padded, write_outputs, survivors_of, update_tokens, update_heads),
    *(write_entries, write_list, write_header),
)
