# SPDX-License-Identifier: BSD-2-Clause
"""Where the fields of descriptor and answer lie (contract, sections 9 and 10)."""

from __future__ import annotations

from enum import IntEnum

HEADER_WORDS = 64
HEADER_BYTES = 4 * HEADER_WORDS
JOB_MAGIC = int.from_bytes(b"SPTJ", "little")
ANSWER_MAGIC = int.from_bytes(b"SPTA", "little")


class Status(IntEnum):
    """How a job ended; the values after EMPTY_ROW need a clock or a bus."""

    PENDING = 0
    DONE = 1
    BAD_ADDRESS = 2
    BAD_MAGIC = 3
    BAD_VERSION = 4
    BAD_DIGEST = 5
    BAD_FIELD = 6
    BAD_LIST = 7
    EMPTY_ROW = 8
    WATCHDOG = 9
    ABORTED = 10
    MEMORY_FAULT = 11


# name: (word, highest bit, lowest bit)
JOB_FIELDS: dict[str, tuple[int, int, int]] = {
    "magic": (0, 31, 0),
    "abi_minor": (1, 15, 0),
    "abi_major": (1, 31, 16),
    "descriptor_bytes": (2, 31, 0),
    "job_id": (3, 31, 0),
    "config_digest_lo": (4, 31, 0),
    "config_digest_hi": (5, 31, 0),
    "kind": (6, 7, 0),
    "causal": (6, 8, 8),
    "add_tokens": (6, 9, 9),
    "add_heads": (6, 10, 10),
    "head_dim": (7, 7, 0),
    "total_heads": (7, 15, 8),
    "n_heads": (7, 23, 16),
    "n_queries": (8, 15, 0),
    "n_keys": (8, 31, 16),
    "n_slots": (9, 15, 0),
    "keep_values": (9, 31, 16),
    "keep_tokens": (10, 15, 0),
    "keep_heads": (10, 23, 16),
    "q_bits": (11, 3, 0),
    "k_msb_bits": (11, 7, 4),
    "v_msb_bits": (11, 11, 8),
    "k_lsb_bits": (11, 15, 12),
    "v_lsb_bits": (11, 19, 16),
    "k_policy": (11, 21, 20),
    "v_policy": (11, 23, 22),
    "refetch_limit": (12, 31, 0),
    "decay": (13, 16, 0),
    "q_address": (14, 31, 0),
    "k_msb_address": (15, 31, 0),
    "k_msb_stride": (16, 31, 0),
    "k_lsb_address": (17, 31, 0),
    "k_lsb_stride": (18, 31, 0),
    "v_msb_address": (19, 31, 0),
    "v_msb_stride": (20, 31, 0),
    "v_lsb_address": (21, 31, 0),
    "v_lsb_stride": (22, 31, 0),
    "output_address": (23, 31, 0),
    "token_importance_address": (24, 31, 0),
    "head_importance_address": (25, 31, 0),
    "answer_address": (26, 31, 0),
    "value_limit": (27, 15, 0),
    "refetch_shift": (27, 20, 16),
}
SINCE_1_1 = ("value_limit", "refetch_shift")

# 32-bit words or parts of one
ANSWER_FIELDS: dict[str, tuple[int, int, int]] = {
    "magic": (0, 31, 0),
    "abi_minor": (1, 15, 0),
    "abi_major": (1, 31, 16),
    "job_id": (2, 31, 0),
    "status": (3, 31, 0),
    "config_digest_lo": (4, 31, 0),
    "config_digest_hi": (5, 31, 0),
    "n_tokens": (6, 15, 0),
    "n_heads": (6, 31, 16),
    "refetched_rows": (7, 31, 0),
    "keys_fetched": (8, 31, 0),
    "values_fetched": (9, 31, 0),
}

# 64-bit counters: the word of the lower half
ANSWER_COUNTERS: dict[str, int] = {
    "read_q": 12,
    "read_k_msb": 14,
    "read_k_lsb": 16,
    "read_v_msb": 18,
    "read_v_lsb": 20,
    "read_importance": 22,
    "read_control": 24,
    "written_output": 26,
    "written_importance": 28,
    "written_control": 30,
    "cycles": 32,
    "busy_qk": 34,
    "busy_pv": 36,
    "stall_read": 38,
    "stall_write": 40,
    "stall_softmax": 42,
    "stall_topk": 44,
}


def get_field(words: list[int], place: tuple[int, int, int]) -> int:
    """The unsigned value of one field."""
    word, high, low = place
    return words[word] >> low & (1 << (high - low + 1)) - 1


def set_field(words: list[int], place: tuple[int, int, int], value: int) -> None:
    """Write one field; ValueError if the value does not fit."""
    word, high, low = place
    mask = (1 << (high - low + 1)) - 1
    if not 0 <= value <= mask:
        raise ValueError(f"{value} does not fit bits {high}:{low} of word {word}: expected 0 to {mask}")
    words[word] = words[word] & ~(mask << low) | value << low


def named_bits(fields: dict[str, tuple[int, int, int]]) -> list[int]:
    """For each header word the mask of the bits that have a name; all others are reserved."""
    words = [0] * HEADER_WORDS
    for word, high, low in fields.values():
        set_field(words, (word, high, low), (1 << (high - low + 1)) - 1)
    return words
