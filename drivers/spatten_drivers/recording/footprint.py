# SPDX-License-Identifier: BSD-2-Clause
"""What a layer job reads and writes in device memory (``docs/contract.md``, section 3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..answer import answer_bytes
from ..job import LayerJob, descriptor_bytes
from ..planes import LSB_WIDTH, padded, row_bytes


class Region(NamedTuple):
    """``size`` bytes of device memory from ``address`` on."""

    address: int
    size: int


#: What a job writes.
REGIONS = ("answer", "output", "token_importance", "head_importance")

#: Sorted, disjoint pieces of memory ``[n, 2]``: first byte, and the byte behind the last.
Runs = NDArray[np.int64]


def reads(job: LayerJob, address: int, beat: int) -> Runs:
    """Every byte that decides the answer of the legal ``job`` whose descriptor lies at ``address``.

    Of the planes these are the rows of live heads and live keys; an LSB plane that the policy never uses is
    left out.
    """
    return merged(
        np.concatenate(
            [np.array([[address, address + descriptor_bytes(job.fields, beat)]])]
            + [_rows(starts, size) for starts, size in _operands(job, beat)]
        )
    )


def _operands(job: LayerJob, beat: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Addresses of rows, and bytes of each."""
    yield np.array([job["q_address"]]), queries_region(job, beat).size
    ids = job.heads["head_id"].astype(np.int64)
    for name in ("k", "v"):
        planes = {f"{name}_msb": job[f"{name}_msb_bits"]}
        if job[f"{name}_lsb_bits"] and job[f"{name}_policy"]:
            planes[f"{name}_lsb"] = LSB_WIDTH
        for plane, width in planes.items():
            row = row_bytes(job["head_dim"], width, beat)
            heads = job[f"{plane}_address"] + ids * job[f"{plane}_stride"]
            yield (heads[:, None] + job.key_slots * row).reshape(-1), row
    if job["add_tokens"]:
        yield np.array([job["token_importance_address"]]), padded(4 * job["n_slots"], beat)
    if job["add_heads"]:
        yield np.array([job["head_importance_address"]]), padded(8 * job["total_heads"], beat)


def _rows(starts: NDArray[np.int64], size: int) -> Runs:
    return np.stack([starts, starts + size], axis=1)


def queries_region(job: LayerJob, beat: int) -> Region:
    """Where the query rows lie."""
    row = row_bytes(job["head_dim"], job["q_bits"], beat)
    return Region(job["q_address"], job["n_heads"] * job["n_queries"] * row)


def writes(job: LayerJob, beat: int) -> dict[str, Region]:
    """Every region that the legal ``job`` writes, by name."""
    rows = job["n_heads"] * job["n_queries"]
    sizes = (
        answer_bytes(job["keep_tokens"], job["keep_heads"], beat),
        rows * padded(2 * job["head_dim"], beat),
        padded(4 * job["n_slots"], beat),
        padded(8 * job["total_heads"], beat),
    )
    return {name: Region(job[f"{name}_address"], size) for name, size in zip(REGIONS, sizes, strict=True)}


def merged(runs: Runs, gap: int = 0) -> Runs:
    """The same bytes in ascending, disjoint runs; runs at most ``gap`` bytes apart become one."""
    if len(runs) < 2:
        return runs
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(runs[:, 1])
    first = np.concatenate([[True], runs[1:, 0] > reach[:-1] + gap])
    last = np.concatenate([first[1:], [True]])
    return np.stack([runs[first, 0], reach[last]], axis=1)
