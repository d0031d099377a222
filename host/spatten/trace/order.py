# SPDX-License-Identifier: BSD-2-Clause
"""Checks over all rows of a trace: nothing is missing, doubled or out of order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from ..errors import TraceError
from .rows import TraceRow


def check_order(file: str, rows: Sequence[TraceRow]) -> None:
    """Places count up from 0 without a gap; a token has one length, a file one head dimension."""
    places = [(row.iteration, row.layer, row.head) for row in rows]
    if places[0] != (0, 0, 0):
        raise TraceError.at(file, rows[0].line, "the first row is", _place(places[0]), _place((0, 0, 0)))
    for (before, row), (old, new) in zip(pairwise(rows), pairwise(places), strict=True):
        iteration, layer, head = old
        legal = ((iteration, layer, head + 1), (iteration, layer + 1, 0), (iteration + 1, 0, 0))
        if new not in legal:
            rule = f"{' or '.join(map(_place, legal))}; lines are missing, doubled or out of order"
            raise TraceError.at(file, row.line, "the row is", _place(new), rule)
        if row.head_dim != before.head_dim:
            rule = f"{before.head_dim} as in the rows before"
            raise TraceError.at(file, row.line, "embedding_length_D is", str(row.head_dim), rule)
        if row.iteration == before.iteration and row.length != before.length:
            rule = f"{before.length} as in the other rows of iteration {row.iteration}"
            raise TraceError.at(file, row.line, "sentence_length_L is", str(row.length), rule)


def _place(place: tuple[int, int, int]) -> str:
    return "iteration {}, layer {}, head {}".format(*place)


def check_layers(file: str, rows: Sequence[TraceRow], cut: bool) -> None:
    """Iterations have the same layers and heads never come back; ``cut`` when the last line is missing."""
    last_rows = [list(layer)[-1] for _, layer in groupby(rows, lambda row: (row.iteration, row.layer))]
    for before, row in pairwise(last_rows):
        if row.iteration == before.iteration and row.head > before.head:
            rule = f"at most {before.head + 1} as in the layer before: a pruned head stays away"
            raise TraceError.at(file, row.line, f"heads of layer {row.layer} are", str(row.head + 1), rule)
    ends = [list(iteration)[-1] for _, iteration in groupby(last_rows, lambda row: row.iteration)]
    for end in ends:
        if end.layer != ends[0].layer:
            rule = f"{ends[0].layer + 1} as in iteration 0; lines are missing or the file is cut"
            raise TraceError.at(
                file, end.line, f"layers of iteration {end.iteration} are", str(end.layer + 1), rule
            )
    if cut and len(ends) > 1 and ends[-1].head < ends[-2].head:
        rule = (
            f"{ends[-2].head + 1} as in the iteration before, or a last line that names a configuration; "
            "the file may be cut"
        )
        raise TraceError.at(file, ends[-1].line, "heads of the last layer are", str(ends[-1].head + 1), rule)
