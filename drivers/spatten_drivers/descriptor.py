# SPDX-License-Identifier: BSD-2-Clause
"""A job's descriptor and queries, from floats to bytes, in NumPy and in numba: both give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .exp2 import FRACTION_BITS
from .job import ENTRY_BYTES, HEADER_BYTES, PROTECTED_BIT, JobTemplate, LayerJob
from .model.compiled import compiled
from .model.step_answer import write_entries
from .packing import Floats, Packed, indices, peak_of, plain, put_row, round_row
from .planes import pack_rows
from .quantize import LOG2_E, nearest, quantize, score_scale, symmetric_scale


class Contents(NamedTuple):
    """What a descriptor is made of besides its header.

    Attributes
    ----------
    queries : ``float [h,q,D]``.
    bits : of a query's element.
    k_scale : ``[h]``, of the rows of K.
    scaling : factor on Q x K.
    gains : ``int [h,2]``, multiplier and shift of each head's importance.
    heads, keys, slots : live heads, slots of the keys and of the queries.
    shielded : which keys survive whatever their importance.
    """

    queries: Floats
    bits: int
    k_scale: NDArray[np.float64]
    scaling: float
    gains: NDArray[np.int64]
    heads: NDArray[np.intp]
    keys: NDArray[np.intp]
    slots: NDArray[np.intp]
    shielded: NDArray[np.bool_]


class Room(NamedTuple):
    """A job's memory on the host, and where its key list, its query list and its queries begin in it."""

    memory: Packed
    keys: int
    slots: int
    rows: int
    row: int


#: ``describe(job, template, fields, contents, room)`` writes descriptor and queries. The job's tables lie
#: in the room's memory; ``fields`` are those that the template does not know. Raises what ``write_header``,
#: ``symmetric_scale`` and ``score_scale`` raise.
Describe = Callable[[LayerJob, JobTemplate, dict[str, int], Contents, Room], None]


def _numpy_describe(
    job: LayerJob, template: JobTemplate, fields: dict[str, int], contents: Contents, room: Room
) -> None:
    template.write_header(room.memory, fields)
    heads, queries, bits = job.heads, contents.queries, contents.bits
    scale = symmetric_scale(queries, bits)
    scores = score_scale(scale.tolist(), contents.k_scale.tolist(), contents.scaling)
    heads["head_id"], heads["reserved"] = contents.heads, 0
    heads["score_mult"], heads["score_shift"] = zip(*scores, strict=True)
    heads["importance_mult"], heads["importance_shift"] = contents.gains.T
    job.keys[...] = contents.keys
    job.keys[contents.shielded] |= PROTECTED_BIT
    job.queries[...] = contents.slots
    count = queries.shape[0] * queries.shape[1]
    rows = room.memory[room.rows : room.rows + count * room.row].reshape(*queries.shape[:2], room.row)
    rows[...] = pack_rows(quantize(queries, scale, bits)[0], bits, room.row)


def write_fields(
    header: NDArray[np.uint32],
    words: NDArray[np.int64],
    places: NDArray[np.int64],
    values: NDArray[np.int64],
) -> bool:
    """As ``JobTemplate.write_header``; false if a value does not fit its field."""
    fresh = words.copy()
    for i in range(len(values)):
        word, lsb, mask = places[0, i], places[1, i], places[2, i]
        if not 0 <= values[i] <= mask:
            return False
        fresh[word] = (fresh[word] & ~(mask << lsb)) | values[i] << lsb
    for i in range(len(fresh)):
        header[i] = fresh[i]
    return True


def write_all(
    words: NDArray[np.int64],
    places: NDArray[np.int64],
    values: NDArray[np.int64],
    queries: Floats,
    bits: int,
    k_scale: NDArray[np.float64],
    scaling: float,
    gains: NDArray[np.int64],
    heads: NDArray[np.int64],
    keys: NDArray[np.int64],
    slots: NDArray[np.int64],
    shielded: NDArray[np.bool_],
    memory: Packed,
    keys_at: int,
    slots_at: int,
    rows_at: int,
    row: int,
) -> bool:
    """As ``describe``; stops where a number is out of range."""
    if not write_fields(memory[:HEADER_BYTES].view(np.uint32), words, places, values):
        return False
    limit = (1 << bits - 1) - 1
    steps = np.empty(queries.shape[2], np.int32)
    for h in range(len(heads)):
        scale = peak_of(queries[h]) / limit
        wanted = scale * k_scale[h] * scaling * LOG2_E * (1 << FRACTION_BITS)
        if not 0.0 < wanted < np.inf:
            return False
        mult, shift = nearest(wanted, 48)
        if shift < 1:
            return False
        entry = memory[HEADER_BYTES + ENTRY_BYTES * h : HEADER_BYTES + ENTRY_BYTES * (h + 1)]
        entry[0], entry[1], entry[2], entry[3] = heads[h], shift, mult & 0xFF, mult >> 8
        entry[4], entry[5], entry[6], entry[7] = gains[h, 0] & 0xFF, gains[h, 0] >> 8, gains[h, 1], 0
        inverse = np.float32(1.0 / scale)
        for n in range(queries.shape[1]):
            start = rows_at + (h * queries.shape[1] + n) * row
            round_row(queries[h, n], inverse, limit, steps)
            put_row(steps, bits, 0, memory[start : start + row])
    write_entries(memory, keys_at, keys)
    for n in range(len(keys)):
        memory[keys_at + 2 * n + 1] |= PROTECTED_BIT >> 8 if shielded[n] else 0
    write_entries(memory, slots_at, slots)
    return True


@cache
def _numba_describe() -> Describe:
    made = compiled((nearest, peak_of, round_row, put_row, write_fields, write_entries, write_all))

    def describe(
        job: LayerJob, template: JobTemplate, fields: dict[str, int], contents: Contents, room: Room
    ) -> None:
        queries, bits, k_scale, scaling, gains, *lists, shielded = contents
        queries, lists = plain(queries), [*map(indices, lists)]
        header = template.words, template.places(tuple(fields)), np.fromiter(fields.values(), np.int64)
        numbers = queries, bits, k_scale, float(scaling), gains
        usual = queries.dtype == np.float32
        if not (usual and made.write_all(*header, *numbers, *lists, shielded, *room)):
            _numpy_describe(job, template, fields, contents, room)  # it says what is out of range

    return describe


def describer(kernel: str) -> Describe:
    """The loops of a kernel by its name, as a device's ``kernel`` gives it."""
    return _numba_describe() if kernel == "numba" else _numpy_describe
