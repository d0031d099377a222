# SPDX-License-Identifier: BSD-2-Clause
"""Section 13 of docs/contract.md: two tiny jobs with every number on the way.

`python -m tests.model.worked_example` prints the blocks of the page; test_worked_example.py compares them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .decode import decode
from .jobs import HeadSpec, JobImage, JobSpec, Widths, build, pack_row
from .oracle import run_job, token_gains, trace_job, visible_slots
from .oracle_checks import check
from .oracle_config import OracleConfig
from .oracle_memory import Descriptor, row_bytes
from .oracle_row import Row, Softmax

Numbers = dict[str, Any]  # as JSON: names to numbers, lists and further names

# Elements 0 and 1 of each row; elements 2 to 31 are zero in every plane.
GIVEN: Numbers = {
    "head_dim": 32,
    "causal": 1,
    "key_slots": [0, 1, 2, 3],
    "protected_slots": [0],
    "query_slots": [2, 3],
    "q_bits": 8,
    "k_msb_bits": 6,
    "k_lsb_bits": 4,
    "v_msb_bits": 6,
    "v_lsb_bits": 4,
    "k_policy": 2,
    "v_policy": 2,
    "score_mult": 40000,
    "score_shift": 16,
    "refetch_limit": 131070,
    "refetch_shift": 0,
    "value_limit": 0,
    "keep_values": 2,
    "keep_tokens": 3,
    "importance_mult": 32768,
    "importance_shift": 20,
    "add_tokens": 1,
    "decay": 32768,
    "old_token_importance": [100, 2000, 4096, 9],
    "add_heads": 0,
    "beat_bytes": 16,
    "kv_buffer_rows": 64,
    "q": [[90, -20], [30, 25]],
    "k_msb": [[-9, 2], [5, 1], [6, -3], [4, 6]],
    "k_lsb": [[3, 15], [12, 0], [1, 7], [9, 4]],
    "v_msb": [[-32, 7], [10, -1], [31, 4], [-6, 12]],
    "v_lsb": [[0, 3], [5, 15], [15, 8], [2, 1]],
}
#: What is other in the second job: a step of generation that refetches by key.
STEP: Numbers = {
    "query_slots": [3],
    "q": [[30, 25]],
    "k_policy": 3,
    "v_policy": 1,
    "refetch_shift": 2,
    "value_limit": 52000,
    "keep_values": 4,
}
STEP_FOUND = ("rows", "counters")


def example_spec(given: Numbers) -> JobSpec:
    """The job of the page, operands aside."""
    head = HeadSpec(
        0, given["score_shift"], given["score_mult"], given["importance_mult"], given["importance_shift"]
    )
    names = ("k_msb", "k_lsb", "v_msb", "v_lsb")
    planes = {name: given[f"{name}_bits"] for name in names}
    return JobSpec(
        config=OracleConfig(beat_bytes=given["beat_bytes"], kv_buffer_rows=given["kv_buffer_rows"]),
        head_dim=given["head_dim"],
        heads=(head,),
        n_slots=len(given["key_slots"]),
        keys=tuple(given["key_slots"]),
        protected=frozenset(given["protected_slots"]),
        queries=tuple(given["query_slots"]),
        keep_values=given["keep_values"],
        keep_tokens=given["keep_tokens"],
        widths=Widths(given["q_bits"], **planes, k_policy=given["k_policy"], v_policy=given["v_policy"]),
        refetch_limit=given["refetch_limit"],
        refetch_shift=given["refetch_shift"],
        value_limit=given["value_limit"],
        decay=given["decay"],
        causal=bool(given["causal"]),
        add_tokens=bool(given["add_tokens"]),
        add_heads=bool(given["add_heads"]),
    )


def example_image(given: Numbers) -> JobImage:
    """The job of the page in memory."""
    spec = example_spec(given)
    image = build(spec)
    for name in ("q", "k_msb", "k_lsb", "v_msb", "v_lsb"):
        start, _ = image.regions[name]
        row = row_bytes(spec.head_dim, spec.widths.of(name), spec.config.beat_bytes)
        rows = [pack_row(elements, spec.widths.of(name), row) for elements in given[name]]
        image.memory[start : start + len(rows) * row] = b"".join(rows)
    start, size = image.regions["token_importance"]
    words = b"".join(word.to_bytes(4, "little") for word in given["old_token_importance"])
    image.memory[start : start + size] = words
    return image


def _softmax_numbers(step: Softmax) -> Numbers:
    return {"s": step.scores, "d": step.distances, "x": step.exponents, "e": step.weights, "S": step.total}


def _row_numbers(job: Descriptor, query_slot: int, row: Row) -> Numbers:
    """Every number of sections 4 to 6 for one row; of acc and o the elements 0, 1 and 2 only."""
    visible = visible_slots(job, query_slot)
    return {
        "query_slot": query_slot,
        "visible_slots": visible,
        "passes": [_softmax_numbers(step) for step in row.passes],
        "refetched": row.refetched,
        "refetched_slots": [visible[j] for j in row.redone],
        "kept_slots": [visible[j] for j in row.kept],
        "acc": row.acc[:3],
        "z": row.z,
        "R": row.reciprocal,
        "o": row.output[:3],
        "w": row.importance_factor,
        "gains": row.gains,
    }


def found(given: Numbers) -> Numbers:
    """Run the job and collect its numbers."""
    image = example_image(given)
    job = check(image.memory, image.descriptor_address, image.config)
    (rows,) = trace_job(image.memory, job)
    gains = token_gains(job, [rows])
    run_job(image.memory, image.descriptor_address, image.config)
    result = decode(image.memory, image.descriptor_address, image.config.beat_bytes)
    ours = ("_rows", "_fetched", "read_", "written_")
    return {
        "config_json": image.config.canonical_json(),
        "config_digest": f"{image.config.digest:016x}",
        "rows": [_row_numbers(job, slot, row) for slot, row in zip(job.query_slots(), rows, strict=True)],
        "t": list(gains.values()),
        "token_importance": result.token_importance,
        "A": sum(abs(o) for row in rows for o in row.output),
        "head_importance": result.head_importance,
        "surviving_tokens": [f"{word:#06x}" for word in result.tokens],
        "surviving_heads": result.heads,
        "counters": {name: n for name, n in result.fields.items() if any(part in name for part in ours)},
    }


def _layout(value: Any, indent: str = "") -> str:
    """JSON with a line for each name, and lists of plain values or of such lists on one line."""
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{inner}{json.dumps(name)}: {_layout(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = [inner + _layout(item, inner) for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return json.dumps(value)


def page_json() -> str:
    """The first block of the page."""
    return _layout({"given": GIVEN, "found": found(GIVEN)})


def step_json() -> str:
    """The second block: what is other, and what comes of it."""
    numbers = found(GIVEN | STEP)
    return _layout({"given": STEP, "found": {name: numbers[name] for name in STEP_FOUND}})


if __name__ == "__main__":
    sys.stdout.write(f"{page_json()}\n\n{step_json()}\n")
