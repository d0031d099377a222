# SPDX-License-Identifier: BSD-2-Clause
"""What a job left in memory, as bytes: its digest, and the first place where two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..answer import ANSWER_WORDS, COUNTERS, CYCLE_COUNTERS, Status, decode_header
from ..devices.base import Device
from ..job import HEADER_BYTES, HEADER_WORDS, LayerJob
from ..planes import padded
from .footprint import Region

#: Such a job ended by the clock or by the host, not by its own bytes: no other run has to repeat it.
UNREPEATABLE = frozenset({Status.ABORTED, Status.WATCHDOG, Status.MEMORY_FAULT})

_COMPARED = np.ones(HEADER_WORDS, bool)
for _counter in CYCLE_COUNTERS:
    _COMPARED[_counter.index : _counter.index + 2] = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one job left.

    Attributes
    ----------
    parts : bytes of each region it was to write: ``answer``, ``output``, ``token_importance``,
        ``head_importance``; the header alone, or nothing, if the job was to be refused.
    error : register ``JOB_ERROR`` if the header tells no status, else 0.
    seconds : from the push until its end was seen; 0 if nobody measured.
    """

    parts: dict[str, NDArray[np.uint8]]
    error: int = 0
    seconds: float = 0.0

    @property
    def status(self) -> Status:
        """How the job ended, from its header or from the register; ``PENDING`` if neither tells."""
        header = self.header_status(self.parts)
        return Status(header or (self.error if self.error in set(Status) else Status.PENDING))

    @staticmethod
    def header_status(parts: dict[str, NDArray[np.uint8]]) -> int:
        """The status word of the answer header, 0 if there is none or if it makes no sense."""
        fields = decode_header(parts["answer"])[0] if "answer" in parts else {"status": 0}
        return fields["status"] if fields["status"] in set(Status) else 0

    @property
    def repeatable(self) -> bool:
        """Whether every device has to end this job with the same bytes."""
        return self.status not in UNREPEATABLE and self.status is not Status.PENDING

    @property
    def cycles(self) -> int:
        """Clock cycles that the device counted; 0 where there is no clock."""
        return decode_header(self.parts["answer"])[1]["cycles"] if "answer" in self.parts else 0

    @property
    def digest(self) -> str:
        """SHA-256 over all parts in the order of their names; cycles and stalls count as zero."""
        sha = hashlib.sha256()
        for name in sorted(self.parts):
            sha.update(_without_cycles(name, self.parts[name]).tobytes())
        return sha.hexdigest()


def _without_cycles(name: str, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if name != "answer":
        return part
    words = part[:HEADER_BYTES].view("<u4") * _COMPARED
    return np.concatenate([words.astype("<u4").view(np.uint8), part[HEADER_BYTES:]])


def read_outcome(device: Device, regions: dict[str, Region], seconds: float = 0.0) -> Outcome:
    """Read back what a job that has ended left in its ``regions``."""
    parts = {name: device.read_memory(*region) for name, region in regions.items()}
    told = Outcome.header_status(parts)
    return Outcome(parts, 0 if told else device.read_register("JOB_ERROR") & 0xFF, seconds)


@dataclass(frozen=True)
class Difference:
    """The first place where two outcomes differ: a field of the answer, the index in it, and both values."""

    field: str
    index: tuple[int, ...]
    expected: int
    got: int

    def __str__(self) -> str:
        place = "".join(f"[{i}]" for i in self.index)
        expected, got = (
            Status(value).name if self.field == "status" else value for value in (self.expected, self.got)
        )
        return f"{self.field}{place}: expected {expected}, got {got}"


def first_difference(expected: Outcome, got: Outcome, job: LayerJob | None, beat: int) -> Difference | None:
    """The first difference, status before all else, or ``None``; cycles and stalls are not compared.

    ``job`` tells how the regions are laid out; without it they are compared byte by byte.
    """
    if expected.status != got.status:
        return Difference("status", (), int(expected.status), int(got.status))
    if expected.digest == got.digest:
        return None
    nothing = np.empty(0, np.uint8)
    for name in {**expected.parts, **got.parts}:
        part, other = expected.parts.get(name, nothing), got.parts.get(name, nothing)
        if other.size != part.size:
            return Difference(f"{name} bytes", (), part.size, other.size)
        if (_without_cycles(name, part) != _without_cycles(name, other)).any():
            pair = zip(_views(name, part, job, beat), _views(name, other, job, beat), strict=True)
            return next(_compared(*mine, values) for mine, (_, values, _) in pair if _differ(mine[1], values))
    raise AssertionError("digests differ and no byte does")


def _differ(mine: NDArray[Any], values: NDArray[Any]) -> bool:
    return not np.array_equal(mine, values)


def _compared(
    name: str, mine: NDArray[Any], labels: tuple[NDArray[Any], ...], values: NDArray[Any]
) -> Difference:
    at = tuple(int(i) for i in np.argwhere(mine != values)[0])
    shown = tuple(int(label[i]) for label, i in zip(labels, at, strict=False)) + at[len(labels) :]
    return Difference(name, shown, int(mine[at]), int(values[at]))


_View = tuple[str, NDArray[Any], tuple[NDArray[Any], ...]]


def _views(name: str, part: NDArray[np.uint8], job: LayerJob | None, beat: int) -> Iterator[_View]:
    """A region as named arrays that together hold each of its compared bytes.

    Behind each name and array stand numbers that its first axes are called by.
    """
    if name == "answer":
        yield from _header_views(part)
    if job is not None:
        yield from _VIEWS[name](part, job, beat)
    rest = part[HEADER_BYTES:] if name == "answer" else part
    yield f"{name} byte", rest, ()


def _header_views(part: NDArray[np.uint8]) -> Iterator[_View]:
    fields, counters = decode_header(part)
    for name in [f.name for word in ANSWER_WORDS for f in word.fields]:
        yield name, np.array(fields[name]), ()
    for counter in COUNTERS:
        if counter not in CYCLE_COUNTERS:
            yield counter.name, np.array(counters[counter.name], np.uint64), ()
    yield "answer word", part[:HEADER_BYTES].view("<u4") * _COMPARED, ()


def _survivors(part: NDArray[np.uint8], job: LayerJob, beat: int) -> Iterator[_View]:
    start, tokens, heads = HEADER_BYTES, 2 * job["keep_tokens"], 2 * job["keep_heads"]
    yield "tokens", part[start : start + tokens].view("<u2"), ()
    start += padded(tokens, beat)
    yield "heads", part[start : start + heads].view("<u2"), ()


def _output(part: NDArray[np.uint8], job: LayerJob, beat: int) -> Iterator[_View]:
    rows = part.view("<i2").reshape(job["n_heads"], job["n_queries"], -1)
    yield "output", rows[..., : job["head_dim"]], (job.heads["head_id"], job.queries)


def _token_importance(part: NDArray[np.uint8], job: LayerJob, beat: int) -> Iterator[_View]:
    yield "token_importance", part[: 4 * job["n_slots"]].view("<u4"), ()


def _head_importance(part: NDArray[np.uint8], job: LayerJob, beat: int) -> Iterator[_View]:
    yield "head_importance", part[: 8 * job["total_heads"]].view("<u8"), ()


_VIEWS = {
    "answer": _survivors,
    "output": _output,
    "token_importance": _token_importance,
    "head_importance": _head_importance,
}
