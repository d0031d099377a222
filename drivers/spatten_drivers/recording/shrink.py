# SPDX-License-Identifier: BSD-2-Clause
"""Makes a job that shows a difference smaller while it still shows one: delta debugging (Zeller, 1999)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..job import LayerJob, decode_header, decode_tables, encode_job
from .case import Case, zero_header
from .footprint import queries_region, reads, writes

#: Fields that may not matter, each with the value that asks least. What must not be smaller is raised again.
_PLAIN: tuple[Mapping[str, int], ...] = (
    {"causal": 0},
    {"add_tokens": 0, "decay": 1 << 16},
    {"add_heads": 0},
    {"keep_values": 0xFFFF},
    {"value_limit": 0},
    {"keep_tokens": 0xFFFF},
    {"keep_heads": 0xFF},
    {"v_policy": 0},
    {"v_policy": 0, "v_lsb_bits": 0},
    {"v_policy": 0, "k_policy": 0, "refetch_shift": 0},
    {"v_policy": 0, "k_policy": 0, "refetch_shift": 0, "k_lsb_bits": 0},
    {"n_slots": 0},
    {"total_heads": 0},
)


@dataclass(frozen=True)
class Kept:
    """What is left of a job: indices of live heads, queries and keys, and the fields that were made plain."""

    heads: tuple[int, ...]
    queries: tuple[int, ...]
    keys: tuple[int, ...]
    plain: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """Counts, short enough for a line of progress."""
        return f"heads {len(self.heads)}, queries {len(self.queries)}, keys {len(self.keys)}"


class Shrinker:
    """Tries smaller jobs, at most ``trials`` of them.

    Parameters
    ----------
    case : a legal job that shows the difference.
    memory_bytes, beat : of the device.
    differs : runs a case and tells whether it shows a difference.
    progress : told one line before each trial.

    Attributes
    ----------
    best, kept : the smallest case that showed a difference so far, and what is left in it.
    used : trials made.
    """

    def __init__(
        self,
        case: Case,
        memory_bytes: int,
        beat: int,
        differs: Callable[[Case], bool],
        trials: int,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        assert case.seen.job is not None
        self._case, self._job, self._beat = case, case.seen.job, beat
        self._differs, self._trials, self._progress = differs, trials, progress
        self._image = np.zeros(memory_bytes, np.uint8)
        for start, data in case.memory:
            self._image[start : start + data.size] = data
        job = self._job
        heads, queries, keys = (tuple(range(job[name])) for name in ("n_heads", "n_queries", "n_keys"))
        self.kept = Kept(heads, queries, keys)
        self.best, self.used = case, 0
        self._tried = {case.seen.descriptor.tobytes()}

    def run(self) -> Case:
        """Shrink until nothing smaller differs, or all trials are used."""
        before = None
        while before != self.kept and self.used < self._trials:
            before = self.kept
            for axis in ("heads", "queries", "keys"):
                self._shorten(axis)
            for values in _PLAIN:
                plain = {**dict(self.kept.plain), **values}
                self._try(replace(self.kept, plain=tuple(sorted(plain.items()))))
        return self.best

    def _shorten(self, axis: str) -> None:
        """Leave out halves, then quarters, and so on down to single entries."""
        size = (len(getattr(self.kept, axis)) + 1) // 2
        while size:
            start = 0
            while start < len(items := getattr(self.kept, axis)) and len(items) > 1:
                rest = items[:start] + items[start + size :]
                if not (rest and self._try(replace(self.kept, **{axis: rest}))):
                    start += size
            size //= 2

    def _try(self, kept: Kept) -> bool:
        case = self._reduced(kept)
        key = case.seen.descriptor.tobytes()
        if self.used >= self._trials or key in self._tried:
            return False
        self._tried.add(key)
        self.used += 1
        self._progress(f"shrinking, trial {self.used} of {self._trials}: {kept}")
        if self._differs(case):
            self.kept, self.best = kept, case
            return True
        return False

    def _reduced(self, kept: Kept) -> Case:
        """The case with what is ``kept``, in the same place, with the memory it still reads."""
        job = _reduced_job(self._job, kept, self._beat)
        raw, address = encode_job(job, self._beat), self._case.seen.address
        job = decode_tables(decode_header(raw), raw, self._beat)
        place = queries_region(self._job, self._beat)
        rows = self._image[place.address : place.address + place.size]
        rows = rows.reshape(self._job["n_heads"], self._job["n_queries"], -1)
        queries = rows[np.ix_(kept.heads, kept.queries)].reshape(-1)
        runs, regions = reads(job, address, self._beat), writes(job, self._beat)
        seen = replace(self._case.seen, descriptor=raw, job=job, reads=runs, regions=regions)
        pieces = [(start, self._image[start:end].copy()) for start, end in runs.tolist()]
        for start, data in ((address, raw), (place.address, queries)):
            _overwrite(pieces, start, data)
        return Case(seen, zero_header(seen) + pieces)


def _overwrite(pieces: list[tuple[int, NDArray[np.uint8]]], start: int, data: NDArray[np.uint8]) -> None:
    """Put ``data`` into the piece that holds its place."""
    for at, piece in pieces:
        if at <= start and start + data.size <= at + piece.size:
            piece[start - at : start - at + data.size] = data


def _reduced_job(job: LayerJob, kept: Kept, beat: int) -> LayerJob:
    """Counts follow the lists; what is kept stays within them, and slots and heads within their totals."""
    heads, keys, queries = job.heads[[*kept.heads]], job.keys[[*kept.keys]], job.queries[[*kept.queries]]
    given: dict[str, Any] = {**job.fields, **dict(kept.plain)}
    last_slot = max(int(job.key_slots[kept.keys[-1]]), int(queries[-1]))
    fields = {
        **given,
        "n_heads": len(heads),
        "n_keys": len(keys),
        "n_queries": len(queries),
        "keep_tokens": min(given["keep_tokens"], len(keys)),
        "keep_heads": min(given["keep_heads"], len(heads)),
        "n_slots": max(given["n_slots"], last_slot + 1),
        "total_heads": max(given["total_heads"], int(heads["head_id"][-1]) + 1),
    }
    return LayerJob(fields, heads, keys, queries)
