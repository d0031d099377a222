# SPDX-License-Identifier: BSD-2-Clause
"""One broken job for each way to fail a check of section 9 of the contract, in the order of the checks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from .jobs import HeadSpec, JobImage, JobSpec, Widths, build
from .oracle_config import OracleConfig
from .oracle_format import Status


@dataclass(frozen=True)
class Violation:
    """One way to break a good job: `break_it` changes the image, `status` is what a device must say."""

    name: str
    status: Status
    break_it: Callable[[JobImage], None]
    spec: JobSpec | None = None  # other than BREAKABLE

    def build(self) -> JobImage:
        """The broken job."""
        image = build(self.spec or BREAKABLE)
        self.break_it(image)
        return image


BREAKABLE = JobSpec(
    config=OracleConfig(operand_bits=12),
    n_slots=5,
    keys=(0, 2, 3, 4),
    protected=frozenset({0, 4}),
    queries=(0, 2, 4),
    total_heads=3,
    heads=(HeadSpec(0), HeadSpec(2)),
    keep_values=2,
    keep_tokens=2,
    causal=True,
    seed=5,
)
STEP = replace(BREAKABLE, queries=(4,), widths=Widths(k_msb=4, k_policy=3), refetch_shift=4, value_limit=100)


def _poke(name: str, value: int) -> Callable[[JobImage], None]:
    return lambda image: image.poke(name, value)


def _raise(name: str, amount: int) -> Callable[[JobImage], None]:
    """Move a region or a stride by `amount` bytes."""

    def change(image: JobImage) -> None:
        region = name.removesuffix("_address")
        image.poke(name, image.regions[region][0] + amount)

    return change


def _word(index: int, value: int) -> Callable[[JobImage], None]:
    """OR bits into a word of the header."""

    def change(image: JobImage) -> None:
        place = image.descriptor_address + 4 * index
        (word,) = struct.unpack_from("<I", image.memory, place)
        struct.pack_into("<I", image.memory, place, word | value)

    return change


def _table(offset: int, code: str, value: int) -> Callable[[JobImage], None]:
    """Overwrite a number in the tables, `offset` bytes behind the header."""
    return lambda image: struct.pack_into(code, image.memory, image.descriptor_address + 256 + offset, value)


def _last_beat(name: str) -> Callable[[JobImage], None]:
    """Put a region where all but its last beat lies inside memory."""

    def change(image: JobImage) -> None:
        size = image.regions[name.removesuffix("_address")][1]
        image.poke(name, len(image.memory) - size + image.config.beat_bytes)

    return change


def _follow_without_progress(image: JobImage) -> None:
    """V waits for a refetch that K never makes."""
    image.poke("k_policy", 1)
    image.poke("v_policy", 2)


def _by_key(image: JobImage) -> None:
    """More queries than a step of generation has."""
    image.poke("k_policy", 3)
    image.poke("refetch_shift", 4)


def _descriptor_at(place: Callable[[JobImage], int]) -> Callable[[JobImage], None]:
    def change(image: JobImage) -> None:
        image.descriptor_address = place(image)

    return change


def _descriptor_at_the_end(image: JobImage) -> None:
    """Move the descriptor so that its header fits into memory and its tables do not."""
    start, _ = image.regions["descriptor"]
    target = len(image.memory)
    image.memory += image.memory[start : start + 256]
    image.descriptor_address = target


KEYS, QUERIES = 16, 32  # two heads take one beat of 16 bytes, four keys another

_FIELDS: list[tuple[str, int]] = [
    ("kind", 1),
    ("head_dim", 96),
    ("head_dim", 0),
    ("n_heads", 0),
    ("n_heads", 4),
    ("total_heads", 5),
    ("n_queries", 0),
    ("n_queries", 6),
    ("n_keys", 0),
    ("n_keys", 6),
    ("n_slots", 3),
    ("n_slots", 65),
    ("keep_tokens", 0),
    ("keep_tokens", 5),
    ("keep_heads", 0),
    ("keep_heads", 3),
    ("keep_values", 0),
    ("decay", 65537),
    ("q_bits", 5),
    ("q_bits", 14),
    ("k_msb_bits", 2),
    ("k_msb_bits", 10),
    ("k_lsb_bits", 3),
    ("k_lsb_bits", 0),
    ("v_msb_bits", 7),
    ("v_msb_bits", 10),
    ("v_lsb_bits", 8),
    ("v_lsb_bits", 0),
    ("k_policy", 3),
    ("v_policy", 3),
    ("refetch_shift", 1),
    ("descriptor_bytes", 288),
    ("descriptor_bytes", 320),
]

_RESERVED: list[tuple[int, int]] = [
    *((6, bit) for bit in (11, 31)),
    *((word, 24) for word in (7, 10, 11)),
    (13, 17),
    *((27, bit) for bit in (21, 31)),
    *((word, 0) for word in (28, 32, 40, 63)),
]

_ADDRESSES = (
    "q",
    "k_msb",
    "k_lsb",
    "v_msb",
    "v_lsb",
    "output",
    "token_importance",
    "head_importance",
)

VIOLATIONS: tuple[Violation, ...] = (
    Violation("descriptor_unaligned", Status.BAD_ADDRESS, _descriptor_at(lambda i: i.descriptor_address + 4)),
    Violation("descriptor_outside", Status.BAD_ADDRESS, _descriptor_at(lambda i: len(i.memory) - 240)),
    Violation("descriptor_far_outside", Status.BAD_ADDRESS, _descriptor_at(lambda i: 0xFFFFFFF0)),
    Violation("magic", Status.BAD_MAGIC, _poke("magic", int.from_bytes(b"JTPS", "little"))),
    Violation("older_major", Status.BAD_VERSION, _poke("abi_major", 0)),
    Violation("newer_major", Status.BAD_VERSION, _poke("abi_major", 2)),
    Violation("newer_minor", Status.BAD_VERSION, _poke("abi_minor", 2)),
    Violation("answer_unaligned", Status.BAD_ADDRESS, _raise("answer_address", 8)),
    Violation("answer_header_outside", Status.BAD_ADDRESS, _poke("answer_address", 0xFFFFFFF0)),
    Violation("digest_low", Status.BAD_DIGEST, _poke("config_digest_lo", 1)),
    Violation("digest_high", Status.BAD_DIGEST, _poke("config_digest_hi", 1)),
    *(Violation(f"{name}_{value}", Status.BAD_FIELD, _poke(name, value)) for name, value in _FIELDS),
    *(Violation(f"reserved_{w}_{b}", Status.BAD_FIELD, _word(w, 1 << b)) for w, b in _RESERVED),
    Violation("v_follows_no_refetch", Status.BAD_FIELD, _follow_without_progress),
    Violation("by_key_of_three_queries", Status.BAD_FIELD, _by_key),
    *(
        Violation(f"by_key_{name}_{value}", Status.BAD_FIELD, _poke(name, value), STEP)
        for name, value in (("refetch_shift", 0), ("refetch_shift", 17), ("v_policy", 2), ("k_lsb_bits", 0))
    ),
    Violation("tables_outside", Status.BAD_ADDRESS, _descriptor_at_the_end),
    Violation("head_ids_equal", Status.BAD_LIST, _table(8, "<B", 0)),
    Violation("head_id_too_great", Status.BAD_LIST, _table(8, "<B", 3)),
    Violation("score_shift_0", Status.BAD_LIST, _table(1, "<B", 0)),
    Violation("score_shift_49", Status.BAD_LIST, _table(9, "<B", 49)),
    Violation("importance_shift_48", Status.BAD_LIST, _table(6, "<B", 48)),
    Violation("head_reserved_byte", Status.BAD_LIST, _table(15, "<B", 1)),
    Violation("keys_equal", Status.BAD_LIST, _table(KEYS + 2, "<H", 0)),
    Violation("keys_descend", Status.BAD_LIST, _table(KEYS + 2, "<H", 4)),
    Violation("key_too_great", Status.BAD_LIST, _table(KEYS + 6, "<H", 5)),
    Violation("too_many_protected", Status.BAD_LIST, _table(KEYS + 2, "<H", 0x8002)),
    Violation("queries_equal", Status.BAD_LIST, _table(QUERIES + 2, "<H", 0)),
    Violation("query_too_great", Status.BAD_LIST, _table(QUERIES + 4, "<H", 5)),
    Violation("query_with_bit_15", Status.BAD_LIST, _table(QUERIES + 4, "<H", 0x8004)),
    *(Violation(f"{n}_unaligned", Status.BAD_ADDRESS, _raise(f"{n}_address", 4)) for n in _ADDRESSES),
    *(Violation(f"{n}_outside", Status.BAD_ADDRESS, _last_beat(f"{n}_address")) for n in _ADDRESSES),
    *(
        Violation(f"{plane}_stride_{value}", Status.BAD_ADDRESS, _poke(f"{plane}_stride", value))
        for plane in ("k_msb", "k_lsb", "v_msb", "v_lsb")
        for value in (24, 0x7FFFFFF0)
    ),
    Violation("answer_lists_outside", Status.BAD_ADDRESS, _last_beat("answer_address")),
    Violation("first_query_sees_no_key", Status.EMPTY_ROW, _table(KEYS, "<H", 0x8001)),
)

_OLDER = replace(BREAKABLE.config, abi_minor=0)

#: What a device of contract 1.0 refuses of a job of 1.1. Apart, as gateware is built for the newest alone.
OLDER: tuple[Violation, ...] = (
    Violation(
        "newer_minor_in_1_0", Status.BAD_VERSION, _poke("abi_minor", 1), replace(BREAKABLE, config=_OLDER)
    ),
    Violation(
        "value_limit_in_1_0", Status.BAD_FIELD, _poke("value_limit", 1), replace(BREAKABLE, config=_OLDER)
    ),
    Violation(
        "by_key_in_1_0",
        Status.BAD_FIELD,
        _poke("refetch_shift", 0),
        replace(STEP, config=_OLDER, value_limit=0),
    ),
)
