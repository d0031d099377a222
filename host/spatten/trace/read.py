# SPDX-License-Identifier: BSD-2-Clause
"""From a file to a checked :class:`~spatten.trace.Trace`; every fault names its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import TraceError
from .columns import COLUMNS, decimal
from .order import check_layers, check_order
from .rows import Trace, TraceRow


def read_trace(path: Path) -> Trace:
    """Read and check a whole trace.

    Raises
    ------
    TraceError : the file cannot be read, is no such trace, or breaks one of the rules in ``docs/traces.md``.
    """
    file = str(path)
    lines = _lines(file, _text(path))
    header = _header(file, lines)
    rows, config = _rows(file, header, lines)
    check_order(file, rows)
    check_layers(file, rows, cut=config is None)
    return Trace(rows, config)


def _text(path: Path) -> str:
    rule = "a CSV file in UTF-8; if it is packed, unpack it first"
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"trace {str(path)!r} cannot be read: {error.strerror}; expected {rule}"
        raise TraceError(message, line=None, value=str(path), rule=rule) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        value = f"0x{error.object[error.start]:02x}"
        raise TraceError.at(str(path), line, "there is the byte", value, rule) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TraceError.at(str(path), line, "there is the byte", "0x00", rule)
    return text


def _lines(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Every line that is not blank: its number, from 1, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cells := [cell.strip() for cell in cells]):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        rule = "short cells without stray quotation marks"
        raise TraceError.at(file, line, "the CSV reader says", str(error), rule) from error


def _header(file: str, lines: Iterator[tuple[int, list[str]]]) -> list[str]:
    """The names in the first line: all columns, each once, in any order."""
    rule = f"a header with each of the columns {', '.join(COLUMNS)}"
    line, names = next(lines, (1, []))
    if not set(names) & set(COLUMNS):
        what = "the file starts with" if names else "the file is empty:"
        raise TraceError.at(file, line, what, ",".join(names), rule)
    for what, wrong in (
        ("there is no column", [name for name in COLUMNS if name not in names]),
        ("there is the unknown column", [name for name in names if name not in COLUMNS]),
        ("there is twice the column", [name for name in names if names.count(name) > 1]),
    ):
        if wrong:
            raise TraceError.at(file, line, what, wrong[0], rule)
    return names


def _rows(
    file: str, header: list[str], lines: Iterable[tuple[int, list[str]]]
) -> tuple[tuple[TraceRow, ...], str | None]:
    """The rows, and the name of a configuration from the last line, if it has one."""
    rows: list[TraceRow] = []
    config, line = None, 1
    for line, cells in lines:
        if config is not None:
            raise TraceError.at(file, line, "after the configuration stands", ",".join(cells), "nothing")
        if _is_config(cells):
            config = cells[0]
        else:
            rows.append(_row(file, line, header, cells))
    if not rows:
        rule = "a row for each head of each layer and token"
        raise TraceError.at(file, line, "there are no rows, only", config or ",".join(header), rule)
    return tuple(rows), config


def _is_config(cells: list[str]) -> bool:
    """Only the first cell is filled, and not with a number: that would be a row that was cut."""
    return bool(cells[0]) and not any(cells[1:]) and decimal(cells[0]) is None


def _row(file: str, line: int, header: list[str], cells: list[str]) -> TraceRow:
    if len(cells) != len(header):
        rule = f"{len(header)} cells as in the header; the file may be cut"
        raise TraceError.at(
            file, line, f"{len(cells)} cell{'s' if len(cells) > 1 else ''} in", ",".join(cells), rule
        )
    given = dict(zip(header, cells, strict=True))
    values = {name: _value(file, line, name, given[name]) for name in COLUMNS}
    _check_row(file, line, values)
    return TraceRow(
        line=line,
        iteration=values["iteration_id"],
        layer=values["layer_id"],
        head=values["head_id"],
        head_dim=values["embedding_length_D"],
        length=values["sentence_length_L"],
        keys=values["key_fetch_num"],
        values=values["value_fetch_num"],
        key_bits=values["quant_key_bit"],
        value_bits=values["quant_value_bit"],
        requant=values["if_requant"],
    )


def _value(file: str, line: int, name: str, cell: str) -> Any:
    column = COLUMNS[name]
    value = column.read(cell)
    if value is None or not column.legal(value):
        raise TraceError.at(file, line, f"{name} is", cell, column.rule)
    return value


def _check_row(file: str, line: int, values: dict[str, Any]) -> None:
    """Cells of one row that must agree."""
    for more, fewer in (("sentence_length_L", "key_fetch_num"), ("key_fetch_num", "value_fetch_num")):
        if values[fewer] > values[more]:
            rule = f"at most {more}, which is {values[more]}"
            raise TraceError.at(file, line, f"{fewer} is", str(values[fewer]), rule)
    if values["if_topk"] and values["topk"] < 1:
        raise TraceError.at(file, line, "topk is", str(values["topk"]), "1 or more where if_topk is True")
