# SPDX-License-Identifier: BSD-2-Clause
"""Examples to tune on: rows of a CSV or JSONL file by column, or a task that the quality study draws."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..quality.data import product_snippets, split
from ..quality.tasks import TASKS, Classification, Perplexity, Retrieval, Sample, pairs, shuffled

Row = dict[str, Any]

#: What a row has to have, by task.
COLUMNS: dict[str, tuple[str, ...]] = {
    "classification": ("text", "label"),
    "regression": ("text", "label"),
    "retrieval": ("text", "match"),
    "qa": ("question", "context", "answer"),
    "lm": ("text",),
}
#: A task that the quality study does not have: there a head is learnt on frozen embeddings.
PRODUCTS = Classification(
    name="products",
    title="Product-review sentiment",
    licence="package MIT (PyPI vaderSentiment 3.3.2); sentences of reviews at amazon.com as collected by Hu "
    "and Liu, rated by Hutto and Gilbert (ICWSM 2014); not redistributed here",
    load=product_snippets,
    size=500,
    train_size=1500,
    development=150,
)
#: Shipped tasks by name, those of the quality study and one more.
STUDIES = {task.name: task for task in (*TASKS, PRODUCTS)}
#: What they are here.
SHIPPED = {
    name: {Classification: "classification", Retrieval: "retrieval", Perplexity: "lm"}[type(task)]
    for name, task in STUDIES.items()
}
#: The column that says which part a row is of, where a file has it.
SPLIT = "split"
#: Most characters of a cell; the csv module stops at 131,072 by itself, and texts may be longer.
LONGEST_CELL = (1 << 31) - 1
#: Shares of a file without a column ``split``; the rest is for training.
DEVELOPMENT_SHARE, TEST_SHARE = 0.1, 0.2
#: Examples that a shipped task sets aside for the search, beyond those that the study sets aside.
DEVELOPMENT, PAIRS, WINDOWS = 400, 210, 22
#: Training rows that a shipped task keeps; of those beyond so many more, at most, are reported on.
TRAINING, REPORTED = 8000, 1500


@dataclass(frozen=True)
class Examples:
    """Rows to learn from, to choose a schedule by, and to report on; no row stands in two of them."""

    train: list[Row]
    development: list[Row]
    test: list[Row]


def read_examples(
    source: str, task: str, columns: Mapping[str, str] | None = None, seed: int = 0
) -> Examples:
    """Examples for a task.

    Parameters
    ----------
    source : a ``.csv`` or ``.jsonl`` file, or the name of a shipped task.
    task : one of :data:`COLUMNS`.
    columns : the file's names for the columns of the task, where they differ.
    seed : of the order, and so of the parts of a file that has no column ``split``.

    Raises
    ------
    InputError : no such file or name, a column is missing, a cell is empty, or a part has no rows.
    """
    columns = columns or {}
    if source in SHIPPED:
        if SHIPPED[source] != task:
            raise InputError(f"data {source!r} is for {SHIPPED[source]}; the task is {task}. Choose another")
        if columns:
            raise InputError(f"data {source!r} is no file; its columns have the names that {task} needs")
        return _shipped(source, seed)
    known = (*COLUMNS[task], SPLIT)
    unknown = sorted(set(columns) - set(known))
    if unknown:
        raise InputError(f"columns are given for {unknown}; {task} knows {list(known)}")
    rows = [_renamed(row, place, task, columns) for place, row in _numbered(source)]
    return _parted(rows, source, task, seed)


def _numbered(source: str) -> Iterable[tuple[str, Row]]:
    """Rows, each with what an error should call it."""
    path = Path(source)
    kind = path.suffix.lower()[1:]
    if kind not in _READERS:
        raise InputError(f"data is {source!r}; expected a .csv or .jsonl file, or one of {sorted(SHIPPED)}")
    number, found = 0, []
    try:
        # Spreadsheets put a byte order mark in front, which would become part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in _READERS[kind](stream):
                found.append((f"data {source!r}, row {number}", row))
    except OSError as error:
        raise InputError(f"data {source!r} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"data {source!r} is not valid {kind} in UTF-8 behind row {number}: {error}"
        ) from error
    return found


def _table(stream: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Rows of a .csv, the first one behind the header."""
    csv.field_size_limit(LONGEST_CELL)
    return enumerate(csv.DictReader(stream, strict=True), 1)


def _objects(stream: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Lines of a .jsonl; empty ones count but are none."""
    return ((number, json.loads(line)) for number, line in enumerate(stream, 1) if line.strip())


_READERS: dict[str, Callable[[Iterable[str]], Iterator[tuple[int, Any]]]] = {"csv": _table, "jsonl": _objects}


def _renamed(row: Any, place: str, task: str, columns: Mapping[str, str]) -> Row:
    if not isinstance(row, dict):
        raise InputError(f"{place} is {row!r}; expected an object with columns")
    if None in row:
        raise InputError(
            f"{place} has {len(row[None])} cells more than the header; put texts with commas in quotes"
        )
    needed = (*COLUMNS[task], SPLIT) if SPLIT in columns else COLUMNS[task]
    found = {name: row.get(columns.get(name, name)) for name in (*COLUMNS[task], SPLIT)}
    for name, value in found.items():
        wanted = columns.get(name, name)
        if name in needed and (value is None or value == ""):
            raise InputError(
                f"{place} has no {wanted!r}, which {task} needs as {name!r}; its columns are "
                f"{sorted(map(str, row))}. Name another column with {name}=COLUMN"
            )
        if isinstance(value, list | dict):
            raise InputError(
                f"{place} has in {wanted!r} a {type(value).__name__}; expected a text or a number"
            )
    return found


def _parted(rows: list[Row], source: str, task: str, seed: int) -> Examples:
    """By the column ``split`` (train, development or dev, test) if it is there, else by chance.

    A tuning takes the first rows of a part, and files are often sorted by label: rows are shuffled. Those of
    ``lm`` with a split are one text in order. Without a split, a row that is repeated is taken once: it would
    stand in two parts.
    """
    names = {row[SPLIT] for row in rows}
    if names == {None}:
        mixed = shuffled(_unique(rows), seed)
        test, aside = round(len(mixed) * TEST_SHARE), round(len(mixed) * DEVELOPMENT_SHARE)
        parts = mixed[test + aside :], mixed[test : test + aside], mixed[:test]
    else:
        unknown = sorted(map(str, names - {"train", "development", "dev", "test"}))
        if unknown:
            raise InputError(f"data {source!r} has split {listed(unknown, 5)}; expected train, dev or test")
        ordered = rows if task == "lm" else shuffled(rows, seed)
        parts = tuple(
            [row for row in ordered if row[SPLIT] in wanted]
            for wanted in (("train",), ("development", "dev"), ("test",))
        )
    for part, name in zip(parts, ("train", "development", "test"), strict=True):
        if len(part) < 2:
            raise InputError(f"data {source!r} has {len(part)} rows of {name}; expected 2 or more. Add rows")
    return Examples(*parts)


def listed(values: Sequence[str], most: int) -> str:
    """Values as an error shows them: the first ones, and whether there are more."""
    return ", ".join(map(repr, values[:most])) + (", ..." if len(values) > most else "")


def _unique(rows: Sequence[Row]) -> list[Row]:
    return list({tuple(map(str, row.values())): row for row in rows}.values())


def _shipped(name: str, seed: int) -> Examples:
    """The study's own test examples; what it leaves over is for training, the search, and the report."""
    task = STUDIES[name]
    if isinstance(task, Classification):
        return _reporting_more(_labelled(task, seed))
    if isinstance(task, Retrieval):
        return _reporting_more(_passages(task, seed))
    return _prose(task, seed)


def _reporting_more(parts: Examples) -> Examples:
    """With more test rows, behind the study's own, where training can spare some: they are what tells."""
    more = min(max(len(parts.train) - TRAINING, 0), REPORTED)
    cut = len(parts.train) - more
    return Examples(parts.train[:cut], parts.development, parts.test + parts.train[cut:])


def _labelled(task: Classification, seed: int) -> Examples:
    rows = [{"text": text, "label": str(label)} for text, label in shuffled(task.load(), seed)]
    cut = task.train_size + task.development
    spare = rows[cut + task.size :]
    aside, used = rows[task.train_size : cut] + spare[:DEVELOPMENT], rows[: task.train_size]
    return Examples(used + spare[DEVELOPMENT:], aside, rows[cut : cut + task.size])


def _passages(task: Retrieval, seed: int) -> Examples:
    test = task.examples(Sample(task.size, seed))
    aside = task.examples(Sample(task.development, seed, development=True))
    taken = {*test, *aside}
    every = [pair for texts in task.load() for text in texts for pair in pairs(text, task.words)]
    rest = [pair for pair in shuffled(every, seed) if pair not in taken]
    return Examples(*(_matches(part) for part in (rest[PAIRS:], aside + rest[:PAIRS], test)))


def _matches(found: Sequence[tuple[str, str]]) -> list[Row]:
    return [{"text": first, "match": second} for first, second in found]


def _prose(task: Perplexity, seed: int) -> Examples:
    """Windows of the held-out tenth to choose and to report by; documents of the rest to learn from."""
    from ..quality import data

    documents = {"perplexity-sotu": data.state_of_the_union, "perplexity-moby-dick": data.moby_dick}[
        task.name
    ]
    train = [{"text": text} for text in shuffled(split(documents())[0], seed)]
    test = task.examples(Sample(task.size, seed))
    aside = task.examples(Sample(task.development, seed, development=True))
    aside += [ids for ids in task.examples(Sample(task.size + WINDOWS, seed)) if ids not in test]
    return Examples(train, *([{"ids": ids} for ids in part] for part in (aside, test)))
