# SPDX-License-Identifier: BSD-2-Clause
"""Errors of the host, beside :mod:`spatten_drivers.errors`: what was given, what was expected, what to do."""

from __future__ import annotations

from typing import Any

from spatten_drivers.errors import SpattenError


class ModelError(SpattenError, ValueError):
    """A model cannot be found, loaded, or used for the task that was asked for."""


class InputError(SpattenError, ValueError):
    """A text is empty, unreadable, or longer than the model or the device allows."""


class ReportError(SpattenError, OSError):
    """A report cannot be written to the path that was given."""


class TraceError(SpattenError, ValueError):
    """A workload trace cannot be read, is of another format, or is damaged.

    Attributes
    ----------
    line : line of the file, from 1; ``None`` when no line can be named.
    value : what stands there.
    rule : what was expected instead.
    """

    def __init__(self, message: str, *, line: int | None, value: str, rule: str) -> None:
        super().__init__(message)
        self.line = line
        self.value = value
        self.rule = rule

    @classmethod
    def at(cls, file: str, line: int, what: str, value: str, rule: str) -> TraceError:
        """``what`` leads to the value: "topk is", "byte is". Long values are shown cut."""
        shown = repr(value if len(value) <= 80 else f"{value[:79]}…")
        message = f"trace {file!r}, line {line}: {what} {shown}; expected {rule}"
        return cls(message, line=line, value=value, rule=rule)


class SelftestFault(SpattenError, RuntimeError):
    """A device under test does not do what it must; the message says what was expected and what was found.

    Attributes
    ----------
    figures : what was measured, for the file of the self-test.
    """

    def __init__(self, message: str, figures: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.figures = figures or {}
