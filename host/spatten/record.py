# SPDX-License-Identifier: BSD-2-Clause
"""What a run did, layer job by layer job: survivors, rows, bytes. Reports and the command line read this."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from spatten_drivers import LayerResult
from spatten_drivers.answer import BYTE_COUNTERS, JobAnswer
from spatten_drivers.job import SLOT_MASK

_Numbers = Callable[[Mapping[str, int]], tuple[int, ...]]

KV_KINDS = ("read_k_msb", "read_k_lsb", "read_v_msb", "read_v_lsb")


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """One layer job; what is not stored is worked out when somebody asks, for a run waits for its records.

    Attributes
    ----------
    step : 0 for a whole text or a prompt, then 1, 2, ... for the generated tokens.
    row : index of the sequence in its batch.
    layer : index of the layer.
    counters : bytes by kind, as in the contract.
    """

    step: int
    row: int
    layer: int
    counters: dict[str, int]
    _job: dict[str, int]
    _answer: dict[str, int]
    _keys: NDArray[np.uint16]
    _heads: NDArray[np.uint8]
    _survivors: NDArray[np.uint16]
    _dense_rows: int
    _digest: Callable[[], str]

    @property
    def digest(self) -> str:
        """Hash of every answer field but cycles, to compare devices."""
        found = self._digest()
        object.__setattr__(self, "_digest", partial(str, found))  # its answer can go
        return found

    @property
    def slots(self) -> int:
        """Tokens of the sequence so far."""
        return self._job["n_slots"]

    @property
    def keys(self) -> tuple[int, ...]:
        """Live key slots of this job."""
        return tuple(self._keys.tolist())

    @property
    def queries(self) -> int:
        """Queries of this job."""
        return self._job["n_queries"]

    @property
    def heads(self) -> tuple[int, ...]:
        """Live head ids."""
        return tuple(self._heads.tolist())

    @property
    def total_heads(self) -> int:
        """Heads before pruning."""
        return self._job["total_heads"]

    @property
    def survivors(self) -> tuple[int, ...]:
        """Slots that the device kept for the next layer."""
        return tuple(self._survivors.tolist())

    @property
    def refetched_rows(self) -> int:
        """Rows (head, query) that fetched LSBs."""
        return self._answer["refetched_rows"]

    @property
    def rows(self) -> int:
        """All rows (head, query)."""
        return self._job["n_heads"] * self._job["n_queries"]

    @property
    def keys_fetched(self) -> int:
        """K rows read."""
        return self._answer["keys_fetched"]

    @property
    def keys_skipped(self) -> int:
        """K rows that a dense job would have read and this one did not."""
        return self._dense_rows - self.keys_fetched

    @property
    def values_fetched(self) -> int:
        """V rows read."""
        return self._answer["values_fetched"]

    @property
    def values_skipped(self) -> int:
        """V rows that a dense job would have read and this one did not."""
        return self._dense_rows - self.values_fetched

    @property
    def dense_bytes_16(self) -> int:
        """K and V bytes of a dense job at 16 bit; double it for 32 bit."""
        return 2 * self._dense_rows * self._job["head_dim"] * 2

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
    job, answer = result.job, result.answer
    digest = partial(_digest, answer)
    if job["n_queries"] > 1:  # the answer is long: it is not kept for a digest that somebody may want
        digest = partial(str, digest())
    return LayerRecord(
        step,
        row,
        layer,
        answer.counters,
        job.fields,
        answer.fields,
        job.keys & SLOT_MASK,
        job.heads["head_id"].copy(),  # what it is a view of may be long too
        answer.tokens & SLOT_MASK,
        result.dense_rows,
        digest,
    )


def _digest(answer: JobAnswer) -> str:
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
