# SPDX-License-Identifier: BSD-2-Clause
"""The layer job and its binary descriptor (``docs/contract.md``, section 9)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .config import ABI_MAJOR, ABI_MINOR
from .fields import Field, Table, Word, packed, unpack, whole
from .planes import padded

JOB_MAGIC = int.from_bytes(b"SPTJ", "little")
HEADER_WORDS = 64
HEADER_BYTES = 4 * HEADER_WORDS
PROTECTED_BIT = 1 << 15
SLOT_MASK = PROTECTED_BIT - 1


class KeyPolicy(IntEnum):
    """Which planes of K a row uses."""

    MSB_ONLY = 0
    ALWAYS = 1
    PROGRESSIVE = 2
    BY_KEY = 3


class ValuePolicy(IntEnum):
    """Which planes of V a row uses."""

    MSB_ONLY = 0
    ALWAYS = 1
    ON_REFETCH = 2


def _address(name: str, index: int, what: str) -> Word:
    return whole(name, index, f"Byte offset of {what} in device memory.")


JOB_WORDS: tuple[Word, ...] = (
    whole("magic", 0, "The letters SPTJ.", JOB_MAGIC),
    Word(
        "version",
        1,
        (
            Field("abi_minor", 0, 16, "Contract minor version.", ABI_MINOR),
            Field("abi_major", 16, 16, "Contract major version.", ABI_MAJOR),
        ),
    ),
    whole("descriptor_bytes", 2, "Length of the descriptor with its tables."),
    whole("job_id", 3, "Any number; the answer repeats it."),
    whole("config_digest_lo", 4, "Lower half of the digest the job was made for."),
    whole("config_digest_hi", 5, "Upper half of the digest."),
    Word(
        "flags",
        6,
        (
            Field("kind", 0, 8, "Kind of job.", values={0: "ATTENTION_LAYER"}),
            Field("causal", 8, 1, "A query sees only keys of its own or a lower slot."),
            Field("add_tokens", 9, 1, "Add to the running token importance (else clear it first)."),
            Field("add_heads", 10, 1, "Add to the running head importance (else clear it first)."),
        ),
    ),
    Word(
        "geometry",
        7,
        (
            Field("head_dim", 0, 8, "Elements of a row, D."),
            Field("total_heads", 8, 8, "Heads of the layer before pruning."),
            Field("n_heads", 16, 8, "Live heads of this job."),
        ),
    ),
    Word(
        "counts",
        8,
        (
            Field("n_queries", 0, 16, "Queries of this job."),
            Field("n_keys", 16, 16, "Live key slots of this job."),
        ),
    ),
    Word(
        "slots",
        9,
        (
            Field("n_slots", 0, 16, "Slots of the sequence that hold a token."),
            Field("keep_values", 16, 16, "Values kept per query and head (local value pruning)."),
        ),
    ),
    Word(
        "pruning",
        10,
        (
            Field("keep_tokens", 0, 16, "Tokens that survive this job (cascade token pruning)."),
            Field("keep_heads", 16, 8, "Heads that survive this job (cascade head pruning)."),
        ),
    ),
    Word(
        "quantization",
        11,
        (
            Field("q_bits", 0, 4, "Width of a query element."),
            Field("k_msb_bits", 4, 4, "Width of the K MSB plane."),
            Field("v_msb_bits", 8, 4, "Width of the V MSB plane."),
            Field("k_lsb_bits", 12, 4, "Width of the K LSB plane, 0 or 4."),
            Field("v_lsb_bits", 16, 4, "Width of the V LSB plane, 0 or 4."),
            Field("k_policy", 20, 2, "Planes of K used.", values={p.value: p.name for p in KeyPolicy}),
            Field("v_policy", 22, 2, "Planes of V used.", values={p.value: p.name for p in ValuePolicy}),
        ),
    ),
    whole("refetch_limit", 12, "A progressive row refetches if its weight sum is greater.", (1 << 32) - 1),
    Word("rescale", 13, (Field("decay", 0, 17, "Factor on old token importance, 65536 = 1.", 65536),)),
    _address("q_address", 14, "the query rows"),
    _address("k_msb_address", 15, "the K MSB plane of head 0, slot 0"),
    whole("k_msb_stride", 16, "Bytes from one head's K MSB plane to the next."),
    _address("k_lsb_address", 17, "the K LSB plane"),
    whole("k_lsb_stride", 18, "Bytes from one head's K LSB plane to the next."),
    _address("v_msb_address", 19, "the V MSB plane"),
    whole("v_msb_stride", 20, "Bytes from one head's V MSB plane to the next."),
    _address("v_lsb_address", 21, "the V LSB plane"),
    whole("v_lsb_stride", 22, "Bytes from one head's V LSB plane to the next."),
    _address("output_address", 23, "the output rows"),
    _address("token_importance_address", 24, "the running token importance"),
    _address("head_importance_address", 25, "the running head importance"),
    _address("answer_address", 26, "the answer"),
    Word(
        "shares",
        27,
        (
            Field("value_limit", 0, 16, "Values of a lower weight are dropped; 0 drops none."),
            Field(
                "refetch_shift", 16, 5, "With `BY_KEY`: a key refetches above this share of the sum, 2^-n."
            ),
        ),
    ),
)
#: Words that minor versions before 1 of the contract do not know.
WORDS_SINCE_1 = ("shares",)

_HEADER = Table(JOB_WORDS)
_HEADER_STRUCT = struct.Struct(f"<{HEADER_WORDS}I")

#: One entry of the head table; its 8 bytes in this order.
HEAD_ENTRY = np.dtype(
    [
        ("head_id", "u1"),
        ("score_shift", "u1"),
        ("score_mult", "<u2"),
        ("importance_mult", "<u2"),
        ("importance_shift", "u1"),
        ("reserved", "u1"),
    ]
)
ENTRY_BYTES = HEAD_ENTRY.itemsize


@dataclass(frozen=True)
class LayerJob:
    """One attention layer of one sequence: header fields by name, and the three tables.

    Attributes
    ----------
    fields : every field of :data:`JOB_WORDS` by name.
    heads : live heads, a :data:`HEAD_ENTRY` array in ascending order of ``head_id``.
    keys : ``uint16`` key list, slot in bits 0..14, protected in bit 15, ascending.
    queries : ``uint16`` query slots, ascending.
    """

    fields: dict[str, int]
    heads: np.ndarray
    keys: NDArray[np.uint16]
    queries: NDArray[np.uint16]

    def __getitem__(self, name: str) -> int:
        return self.fields[name]

    @cached_property
    def key_slots(self) -> NDArray[np.int64]:
        return (self.keys & SLOT_MASK).astype(np.int64)

    @cached_property
    def protected(self) -> NDArray[np.bool_]:
        shielded: NDArray[np.bool_] = (self.keys & PROTECTED_BIT) != 0
        return shielded


class JobTemplate:
    """The header fields that many jobs have in common, range-checked and packed once.

    Parameters
    ----------
    fields : by name; fields that are not given keep their reset unless a job has them.

    Raises
    ------
    OperandError : a value does not fit its field.

    Attributes
    ----------
    words : ``int64 [64]``, the header without the job's own fields.
    """

    def __init__(self, fields: dict[str, int]) -> None:
        self.fields, self.words = fields, np.array(packed(_HEADER, fields, HEADER_WORDS), np.int64)

    @staticmethod
    @cache
    def places(names: tuple[str, ...]) -> NDArray[np.int64]:
        """Word, lsb and mask of fields, ``[3, names]``."""
        return np.array([_HEADER.place_of[name] for name in names], np.int64).T.copy()

    def write_header(self, raw: NDArray[np.uint8], fields: dict[str, int]) -> None:
        """Put the header of a job that has these fields besides at the start of its descriptor.

        Raises
        ------
        OperandError : as above.
        """
        _HEADER_STRUCT.pack_into(raw.data, 0, *_HEADER.patched(self.words.tolist(), fields))


def table_places(n_heads: int, n_keys: int, n_queries: int, beat_bytes: int) -> tuple[int, int, int]:
    """Where a descriptor's key list and query list begin, and where it ends: each table fills whole beats.

    The head table begins behind the header.
    """
    keys = HEADER_BYTES + padded(ENTRY_BYTES * n_heads, beat_bytes)
    queries = keys + padded(2 * n_keys, beat_bytes)
    return keys, queries, queries + padded(2 * n_queries, beat_bytes)


def _places(fields: dict[str, int], beat_bytes: int) -> tuple[int, int, int]:
    """As :func:`table_places`, the counts by name."""
    return table_places(fields["n_heads"], fields["n_keys"], fields["n_queries"], beat_bytes)


def descriptor_bytes(fields: dict[str, int], beat_bytes: int) -> int:
    """Length of a descriptor with these counts."""
    return _places(fields, beat_bytes)[2]


def encode_job(job: LayerJob, beat_bytes: int) -> NDArray[np.uint8]:
    """The descriptor's bytes. ``descriptor_bytes`` is filled in; all else is taken from the job."""
    keys, queries, size = _places(job.fields, beat_bytes)
    raw = np.zeros(size, np.uint8)
    header = packed(_HEADER, {**job.fields, "descriptor_bytes": size}, HEADER_WORDS)
    _HEADER_STRUCT.pack_into(raw.data, 0, *header)
    for table, start in zip(_tables(job), (HEADER_BYTES, keys, queries), strict=True):
        raw[start : start + table.nbytes] = table.view(np.uint8)
    return raw


def _tables(job: LayerJob) -> Iterator[NDArray[Any]]:
    yield np.ascontiguousarray(job.heads)
    for slots in (job.keys, job.queries):
        yield np.ascontiguousarray(slots, "<u2")


def decode_header(raw: NDArray[np.uint8]) -> dict[str, int]:
    """Header fields by name from the descriptor's first 256 bytes; nothing is checked."""
    return unpack(_HEADER, raw[:HEADER_BYTES].view("<u4"))


def decode_tables(fields: dict[str, int], raw: NDArray[np.uint8], beat_bytes: int) -> LayerJob:
    """The whole job from its header fields and its ``descriptor_bytes`` bytes; nothing is checked."""
    keys, queries, _ = _places(fields, beat_bytes)
    return LayerJob(
        fields,
        # A view as records would be checked field by field, which takes longer than all else here.
        np.ndarray(fields["n_heads"], HEAD_ENTRY, raw.data, HEADER_BYTES),
        raw[keys : keys + 2 * fields["n_keys"]].view(np.uint16),
        raw[queries : queries + 2 * fields["n_queries"]].view(np.uint16),
    )
