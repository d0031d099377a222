# SPDX-License-Identifier: BSD-2-Clause
"""What a job left in memory, as lists a reader can compare."""

from __future__ import annotations

from dataclasses import dataclass

from .oracle_format import ANSWER_COUNTERS, ANSWER_FIELDS, HEADER_BYTES, HEADER_WORDS, get_field
from .oracle_memory import Descriptor, read_row, read_words


@dataclass(frozen=True)
class Result:
    """A decoded answer with the regions beside it."""

    fields: dict[str, int]  # header fields and counters by name
    tokens: list[int]  # surviving key words, protected bit included
    heads: list[int]  # surviving head ids
    outputs: list[list[list[int]]]  # [live head][query][element]
    token_importance: list[int]  # by slot
    head_importance: list[int]  # by head id


def read_answer_header(memory: bytearray, address: int) -> dict[str, int]:
    """Fields and counters of an answer by name."""
    words = read_words(memory, address, HEADER_WORDS, 4)
    fields = {name: get_field(words, place) for name, place in ANSWER_FIELDS.items()}
    return fields | {name: words[at] | words[at + 1] << 32 for name, at in ANSWER_COUNTERS.items()}


def decode(memory: bytearray, descriptor_address: int, beat_bytes: int) -> Result:
    """Read everything a finished job wrote."""
    job = Descriptor(memory, descriptor_address, beat_bytes)
    tokens_address = job["answer_address"] + HEADER_BYTES
    pitch, head_dim, queries = job.pad(2 * job["head_dim"]), job["head_dim"], job["n_queries"]
    return Result(
        fields=read_answer_header(memory, job["answer_address"]),
        tokens=read_words(memory, tokens_address, job["keep_tokens"], 2),
        heads=read_words(memory, tokens_address + job.pad(2 * job["keep_tokens"]), job["keep_heads"], 2),
        outputs=[
            [
                read_row(memory, job["output_address"] + (i * queries + r) * pitch, head_dim, 16, signed=True)
                for r in range(queries)
            ]
            for i in range(job["n_heads"])
        ],
        token_importance=read_words(memory, job["token_importance_address"], job["n_slots"], 4),
        head_importance=read_words(memory, job["head_importance_address"], job["total_heads"], 8),
    )
