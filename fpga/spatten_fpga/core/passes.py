# SPDX-License-Identifier: BSD-2-Clause
"""Passes: what the request side and the return side of the memory have to agree on.

A *pass* is a run of rows of one plane for one use: the MSB plane of the keys that a query sees, a query row.
The request side (``fetch.py``) announces each pass before it asks for its first beat, and beats come back in
the order in which they were asked for. So the return side (``plane_reader.py``) knows by counting what to
make of each beat.
"""

from __future__ import annotations

from migen import bits_for

from .checks import ROW_BITS
from .geometry import Geometry

#: Where the rows of a pass go.
QUERY, KEYS, VALUES = range(3)


def pass_layout(geometry: Geometry) -> list:
    """A pass.

    ``target`` is one of QUERY, KEYS and VALUES, ``lsb`` tells that the plane is the LSB plane. ``bits``,
    ``shift``, ``unsigned``, ``midpoint`` and ``dim`` are what ``Converter`` needs to read a row. The pass has
    ``rows`` rows, 1 at least, of ``row_beats`` beats each. ``base`` is the place of its first word in an
    operand buffer (KEYS, VALUES), ``slot`` its place among the query rows on chip (QUERY).
    """
    return [
        ("target", 2),
        ("lsb", 1),
        ("bits", 4),
        ("shift", 1),
        ("unsigned", 1),
        ("midpoint", 1),
        ("dim", 8),
        ("rows", bits_for(geometry.config.max_sequence)),
        ("row_beats", ROW_BITS),
        ("base", bits_for(geometry.buffer_words - 1)),
        ("slot", bits_for(geometry.config.query_buffer_rows - 1)),
    ]
