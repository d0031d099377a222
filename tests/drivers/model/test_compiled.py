# SPDX-License-Identifier: BSD-2-Clause
"""Plain functions compiled together."""

import pytest

from spatten_drivers.model import compiled as module
from spatten_drivers.model.compiled import compiled


def double(value: int) -> int:
    return 2 * value


def double_and_one(value: int) -> int:
    return double(value) + 1


def test_they_call_each_other() -> None:
    """The plain ones stay plain."""
    made = compiled((double, double_and_one))
    assert made.double_and_one(20) == double_and_one(20) == 41
    assert made.double_and_one.signatures
    assert made.double_and_one.py_func.__globals__["double"] is made.double
    assert double_and_one.__globals__["double"] is double


def test_another_source_is_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba would take what it kept of a function whose callee, in another file, has changed since."""
    names = set()
    for sources in ("before", "after"):
        monkeypatch.setattr(module, "_sources", lambda sources=sources: sources)
        names.add(compiled((double,)).double.py_func.__qualname__)
    assert names == {"double_before", "double_after"}
