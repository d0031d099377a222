# SPDX-License-Identifier: BSD-2-Clause
"""Errors of the host, beside :mod:`spatten_drivers.errors`: what was given, what was expected, what to do."""

from __future__ import annotations

from spatten_drivers.errors import SpattenError


class ModelError(SpattenError, ValueError):
    """A model cannot be found, loaded, or used for the task that was asked for."""


class InputError(SpattenError, ValueError):
    """A text is empty, unreadable, or longer than the model or the device allows."""


class ReportError(SpattenError, OSError):
    """A report cannot be written to the path that was given."""
