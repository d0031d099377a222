# SPDX-License-Identifier: BSD-2-Clause
"""Running importance and who survives (contract, sections 6 and 7)."""

from __future__ import annotations

from .oracle_memory import PROTECTED_BIT, SLOT_MASK, Descriptor, Head, read_words, write_words
from .oracle_row import round_shift

TOKEN_MAX = (1 << 32) - 1
HEAD_MAX = (1 << 48) - 1


def update_tokens(memory: bytearray, job: Descriptor, gained: dict[int, int]) -> list[int]:
    """Add what each live slot gained (units of 2^-36) to the running importance; returns all words."""
    old = read_words(memory, job["token_importance_address"], job["n_slots"], 4)
    base = old if job["add_tokens"] else [0] * job["n_slots"]
    new = list(base)
    for slot, gain in gained.items():
        new[slot] = min(TOKEN_MAX, (base[slot] * job["decay"] >> 16) + round_shift(gain, 24))
    write_words(memory, job["token_importance_address"], new, 4, job.beat_bytes)
    return new


def update_heads(memory: bytearray, job: Descriptor, magnitudes: dict[Head, int]) -> list[int]:
    """Add each live head's output magnitude to the running importance; returns all words."""
    old = read_words(memory, job["head_importance_address"], job["total_heads"], 8)
    new = old if job["add_heads"] else [0] * job["total_heads"]
    for head, magnitude in magnitudes.items():
        gain = round_shift(magnitude * head.importance_mult, head.importance_shift)
        new[head.head_id] = min(HEAD_MAX, new[head.head_id] + gain)
    write_words(memory, job["head_importance_address"], new, 8, job.beat_bytes)
    return new


def surviving_tokens(job: Descriptor, importance: list[int]) -> list[int]:
    """Key words of the survivors in slot order: protected first, then importance, then the lower slot."""

    def preference(key: int) -> tuple[bool, int, int]:
        slot = key & SLOT_MASK
        return not key & PROTECTED_BIT, -importance[slot], slot

    chosen = sorted(job.key_words(), key=preference)[: job["keep_tokens"]]
    return sorted(chosen, key=lambda key: key & SLOT_MASK)


def surviving_heads(job: Descriptor, importance: list[int]) -> list[int]:
    """Ids of the surviving heads in ascending order: importance first, then the lower id."""
    ids = [head.head_id for head in job.heads()]
    return sorted(sorted(ids, key=lambda head_id: (-importance[head_id], head_id))[: job["keep_heads"]])
