# SPDX-License-Identifier: BSD-2-Clause
"""The tables of ``docs/link.md``, written from the tables of the code.

``python -m spatten_drivers.link.tables docs/link.md`` renews the page between its markers; a test holds page
and code together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..contract_tables import renewed, table, word_table
from .format import HEADER, IDENTITY, OPERATION_HELP, STATUS_HELP


def operation_table() -> str:
    rows = ((int(o), f"`{o.name}`", text) for o, text in OPERATION_HELP.items())
    return table(("operation", "name", "meaning"), rows)


def status_table() -> str:
    rows = ((int(s), f"`{s.name}`", text) for s, text in STATUS_HELP.items())
    return table(("status", "name", "meaning"), rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "header": lambda: word_table(HEADER),
    "operations": operation_table,
    "statuses": status_table,
    "identity": lambda: word_table(IDENTITY),
}


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(), SECTIONS))
