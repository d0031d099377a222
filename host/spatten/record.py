# SPDX-License-Identifier: BSD-2-Clause
"""What a run did, layer job by layer job: survivors, rows, bytes. Reports and the command line read this."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter

from spatten_drivers import LayerResult
from spatten_drivers.answer import BYTE_COUNTERS, JobAnswer

_Numbers = Callable[[Mapping[str, int]], tuple[int, ...]]

KV_KINDS = ("read_k_msb", "read_k_lsb", "read_v_msb", "read_v_lsb")


@dataclass(frozen=True)
class LayerRecord:
    """One layer job.

    Attributes
    ----------
    step : 0 for a whole text or a prompt, then 1, 2, ... for the generated tokens.
    row : index of the sequence in its batch.
    layer : index of the layer.
    slots : tokens of the sequence so far.
    keys : live key slots of this job.
    queries : queries of this job.
    heads : live head ids; ``total_heads`` before pruning.
    survivors : slots that the device kept for the next layer.
    counters : bytes by kind, as in the contract.
    refetched_rows, rows : rows (head, query) that fetched LSBs, of all rows.
    keys_fetched, keys_skipped, values_fetched, values_skipped : K and V rows.
    dense_bytes_16 : K and V bytes of a dense job at 16 bit; double it for 32 bit.
    digest : hash of every answer field but cycles, to compare devices.
    """

    step: int
    row: int
    layer: int
    slots: int
    keys: tuple[int, ...]
    queries: int
    heads: tuple[int, ...]
    total_heads: int
    survivors: tuple[int, ...]
    counters: dict[str, int]
    refetched_rows: int
    rows: int
    keys_fetched: int
    keys_skipped: int
    values_fetched: int
    values_skipped: int
    dense_bytes_16: int
    digest: str

    @property
    def kv_bytes(self) -> int:
        """K and V bytes read."""
        return sum(self.counters[kind] for kind in KV_KINDS)

    @property
    def total_bytes(self) -> int:
        """All bytes read and written by the job."""
        return sum(self.counters[counter.name] for counter in BYTE_COUNTERS)


@dataclass
class RunRecord:
    """All layer jobs of a run on one device."""

    device: str = ""
    config_digest: str = ""
    layers: list[LayerRecord] = field(default_factory=list)
    #: K and V elements clamped, scales doubled, and bytes uploaded.
    saturated: int = 0
    rescaled: int = 0
    uploaded_bytes: int = 0

    def totals(self) -> dict[str, int]:
        """Sums over all jobs of every byte counter and row count."""
        return totals(self.layers)

    @property
    def digest(self) -> str:
        """One hash over all jobs, in order: equal on every device of a configuration."""
        return hashlib.sha256("".join(record.digest for record in self.layers).encode()).hexdigest()

    def ratio(self, bits: int) -> float:
        """K and V bytes of a dense run at ``bits`` (16 or 32) over those read."""
        sums = self.totals()
        return sums["dense_bytes_16"] * (bits / 16) / max(1, sums["kv_bytes"])


def totals(records: Iterable[LayerRecord]) -> dict[str, int]:
    """Sums of counters, rows and dense bytes; ``kv_bytes`` and ``total_bytes`` included."""
    names = ("refetched_rows", "rows", "keys_fetched", "keys_skipped", "values_fetched", "values_skipped")
    names += ("dense_bytes_16", "kv_bytes", "total_bytes")
    sums: Counter[str] = Counter(dict.fromkeys((*names, *(c.name for c in BYTE_COUNTERS)), 0))
    for record in records:
        sums.update({name: getattr(record, name) for name in names})
        sums.update({c.name: record.counters[c.name] for c in BYTE_COUNTERS})
    return dict(sums)


def layer_record(step: int, row: int, layer: int, result: LayerResult) -> LayerRecord:
    """The record of one finished job."""
    job, fields = result.job, result.answer.fields
    return LayerRecord(
        step=step,
        row=row,
        layer=layer,
        slots=job["n_slots"],
        keys=tuple(job.key_slots.tolist()),
        queries=job["n_queries"],
        heads=tuple(job.heads["head_id"].tolist()),
        total_heads=job["total_heads"],
        survivors=tuple(result.tokens.tolist()),
        counters=dict(result.answer.counters),
        refetched_rows=fields["refetched_rows"],
        rows=job["n_heads"] * job["n_queries"],
        keys_fetched=fields["keys_fetched"],
        keys_skipped=result.keys_skipped,
        values_fetched=fields["values_fetched"],
        values_skipped=result.values_skipped,
        dense_bytes_16=2 * result.dense_rows * job["head_dim"] * 2,
        digest=_digest(result),
    )


def _digest(result: LayerResult) -> str:
    answer = result.answer
    arrays = (
        answer.output,
        answer.tokens,
        answer.heads,
        answer.token_importance,
        answer.head_importance,
    )
    parts = (_numbers_text(answer).encode(), *(array.tobytes() for array in arrays))
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _numbers_text(answer: JobAnswer) -> str:
    """``repr`` of the sorted fields and of the bytes, which costs more than the hash of all the rest."""
    template, covered = _form(tuple(answer.fields))
    return template % (covered(answer.fields) + _bytes_moved(answer.counters))


_bytes_moved: _Numbers = itemgetter(*(counter.name for counter in BYTE_COUNTERS))


@lru_cache
def _form(names: tuple[str, ...]) -> tuple[str, _Numbers]:
    """The text for answer fields of these names, and what takes the numbers for it in their order."""
    covered = sorted(name for name in names if name != "job_id")
    fields = ", ".join(f"({name!r}, %d)" for name in covered)
    counters = ", ".join(["%d"] * len(BYTE_COUNTERS))
    return f"([{fields}], [{counters}])", itemgetter(*covered)
