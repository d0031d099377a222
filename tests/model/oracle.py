# SPDX-License-Identifier: BSD-2-Clause
"""The layer job in plain integers, from docs/contract.md alone: clarity over speed."""

from __future__ import annotations

from .oracle_checks import Refused, check
from .oracle_config import ABI_MAJOR, OracleConfig
from .oracle_format import (
    ANSWER_COUNTERS,
    ANSWER_FIELDS,
    ANSWER_MAGIC,
    HEADER_BYTES,
    HEADER_WORDS,
    JOB_FIELDS,
    Status,
    set_field,
)
from .oracle_importance import surviving_heads, surviving_tokens, update_heads, update_tokens
from .oracle_memory import SLOT_MASK, Descriptor, Head, read_row, read_words, write_words
from .oracle_row import PlaneRow, Row, RowRules, run_row
from .oracle_traffic import counters


def run_job(memory: bytearray, descriptor_address: int, config: OracleConfig) -> int:
    """Run the job at `descriptor_address`: write outputs, importance and answer; return the status."""
    try:
        job = check(memory, descriptor_address, config)
    except Refused as refusal:
        if refusal.answered:
            _write_error(memory, descriptor_address, config, refusal.status)
        return refusal.status
    _write_answer(memory, job, config, trace_job(memory, job))
    return Status.DONE


def trace_job(memory: bytearray, job: Descriptor) -> list[list[Row]]:
    """All finished rows of a checked job, per live head and query; reads the operands, writes nothing."""
    return [
        [_trace_row(memory, job, i, head, r) for r in range(job["n_queries"])]
        for i, head in enumerate(job.heads())
    ]


def visible_slots(job: Descriptor, query_slot: int) -> list[int]:
    """Slots of the keys a query sees, ascending."""
    live = [key & SLOT_MASK for key in job.key_words()]
    return [slot for slot in live if slot <= query_slot] if job["causal"] else live


def _trace_row(memory: bytearray, job: Descriptor, i: int, head: Head, r: int) -> Row:
    """Query `r` of the `i`-th live head."""
    q_row = job.row(job["q_bits"])
    query = read_row(
        memory,
        job["q_address"] + (i * job["n_queries"] + r) * q_row,
        job["head_dim"],
        job["q_bits"],
        signed=True,
    )
    slots = visible_slots(job, job.query_slots()[r])
    keys = [_read_planes(memory, job, "k", head.head_id, slot) for slot in slots]
    values = [_read_planes(memory, job, "v", head.head_id, slot) for slot in slots]
    return run_row(query, keys, values, _rules(job, head))


def _read_planes(memory: bytearray, job: Descriptor, operand: str, head_id: int, slot: int) -> PlaneRow:
    """Both planes of one K or V row."""

    def plane(name: str, signed: bool) -> list[int]:
        width = job[f"{name}_bits"]
        address = job[f"{name}_address"] + head_id * job[f"{name}_stride"] + slot * job.row(width)
        return read_row(memory, address, job["head_dim"], width, signed)

    return PlaneRow(
        plane(f"{operand}_msb", signed=True),
        plane(f"{operand}_lsb", signed=False) if job[f"{operand}_lsb_bits"] else None,
    )


def _rules(job: Descriptor, head: Head) -> RowRules:
    return RowRules(
        score_mult=head.score_mult,
        score_shift=head.score_shift,
        k_policy=job["k_policy"],
        v_policy=job["v_policy"],
        refetch_limit=job["refetch_limit"],
        keep_values=job["keep_values"],
        fraction_bits=16 - job["v_msb_bits"] - job["v_lsb_bits"],
        value_limit=job["value_limit"],
        refetch_shift=job["refetch_shift"],
    )


def token_gains(job: Descriptor, traced: list[list[Row]]) -> dict[int, int]:
    """`t_j` of every live key slot, in units of 2^-36."""
    gained = {key & SLOT_MASK: 0 for key in job.key_words()}
    for rows in traced:
        for query_slot, row in zip(job.query_slots(), rows, strict=True):
            for slot, gain in zip(visible_slots(job, query_slot), row.gains, strict=True):
                gained[slot] += gain
    return gained


def _write_answer(memory: bytearray, job: Descriptor, config: OracleConfig, traced: list[list[Row]]) -> None:
    """Outputs, importance and the answer of a job that went well."""
    outputs = [row.output for rows in traced for row in rows]
    for number, output in enumerate(outputs):
        address = job["output_address"] + number * job.pad(2 * job["head_dim"])
        write_words(memory, address, output, 2, job.beat_bytes)
    magnitudes = {
        head: sum(abs(o) for row in rows for o in row.output)
        for head, rows in zip(job.heads(), traced, strict=True)
    }
    tokens = surviving_tokens(job, update_tokens(memory, job, token_gains(job, traced)))
    heads = surviving_heads(job, update_heads(memory, job, magnitudes))
    lists_address = job["answer_address"] + HEADER_BYTES
    write_words(memory, lists_address, tokens, 2, job.beat_bytes)
    write_words(memory, lists_address + job.pad(2 * len(tokens)), heads, 2, job.beat_bytes)
    named = counters(job, config, traced) | {"n_tokens": len(tokens), "n_heads": len(heads)}
    _write_header(memory, job["answer_address"], job["job_id"], config, Status.DONE, named)


def _write_error(memory: bytearray, descriptor_address: int, config: OracleConfig, status: Status) -> None:
    """The answer header of a job that was refused: identity and status, all else 0."""
    words = read_words(memory, descriptor_address, HEADER_WORDS, 4)
    answer_address, job_id = words[JOB_FIELDS["answer_address"][0]], words[JOB_FIELDS["job_id"][0]]
    _write_header(memory, answer_address, job_id, config, status, {})


def _write_header(
    memory: bytearray, address: int, job_id: int, config: OracleConfig, status: Status, named: dict[str, int]
) -> None:
    """The 64 words of an answer; fields and counters not named are 0."""
    words = [0] * HEADER_WORDS
    values = named | {
        "magic": ANSWER_MAGIC,
        "abi_minor": config.abi_minor,
        "abi_major": ABI_MAJOR,
        "job_id": job_id,
        "status": status,
        "config_digest_lo": config.digest & 0xFFFFFFFF,
        "config_digest_hi": config.digest >> 32,
    }
    for name, value in values.items():
        if name in ANSWER_COUNTERS:
            words[ANSWER_COUNTERS[name] : ANSWER_COUNTERS[name] + 2] = [value & 0xFFFFFFFF, value >> 32]
        else:
            set_field(words, ANSWER_FIELDS[name], value)
    write_words(memory, address, words, 4)
