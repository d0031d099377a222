# SPDX-License-Identifier: BSD-2-Clause
"""The tables of ``docs/contract.md``, written from the tables of the code.

``python -m spatten_drivers.contract_tables docs/contract.md`` renews the page between its markers;
a test holds page and code together.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from .answer import ANSWER_WORDS, COUNTERS, STATUS_HELP
from .exp2 import SEGMENTS
from .fields import Word
from .job import JOB_WORDS
from .registers import REGISTERS


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(titles)
    return "\n".join([_row(*names), "|" + "---|" * len(names), *(_row(*row) for row in rows)])


def _bits(lsb: int, width: int) -> str:
    return f"{lsb + width - 1}:{lsb}"


def word_table(words: Iterable[Word]) -> str:
    """Fields of a descriptor or an answer header: word, bits, name, meaning."""
    rows = (
        (w.index, _bits(f.lsb, f.width), f"`{f.name}`", f.description + _values(f.values))
        for w in words
        for f in w.fields
    )
    return table(("word", "bits", "field", "meaning"), rows)


def _values(values: Mapping[int, str]) -> str:
    return " " + ", ".join(f"{k} = `{v}`" for k, v in values.items()) + "." if values else ""


def register_table() -> str:
    rows = (
        (f"`{w.name}`", w.access, _bits(f.lsb, f.width), f"`{f.name}`", f"{f.reset:#x}", f.description)
        for w in REGISTERS
        for f in w.fields
    )
    return table(("register", "access", "bits", "field", "reset", "description"), rows)


def segment_table() -> str:
    numbers = [str(v) for v in SEGMENTS]
    lines = [", ".join(numbers[i : i + 13]) for i in range(0, len(numbers), 13)]
    return "```\n" + ",\n".join(lines) + "\n```"


def answer_table() -> str:
    counters = ((f"{c.index}, {c.index + 1}", "63:0", f"`{c.name}`", c.description) for c in COUNTERS)
    return word_table(ANSWER_WORDS) + "\n" + "\n".join(_row(*row) for row in counters)


def status_table() -> str:
    return table(
        ("status", "name", "meaning"), ((int(s), f"`{s.name}`", text) for s, text in STATUS_HELP.items())
    )


SECTIONS: dict[str, Callable[[], str]] = {
    "segments": segment_table,
    "job": lambda: word_table(JOB_WORDS),
    "answer": answer_table,
    "status": status_table,
    "registers": register_table,
}


def renewed(page: str, sections: Mapping[str, Callable[[], str]] = SECTIONS) -> str:
    """The page with every generated table written anew."""
    for name, make in sections.items():
        block = f"<!-- {name} -->\n{make()}\n<!-- end {name} -->"
        page = re.sub(rf"<!-- {name} -->.*?<!-- end {name} -->", block.replace("\\", r"\\"), page, flags=re.S)
    return page


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text()))
