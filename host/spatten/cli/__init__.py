# SPDX-License-Identifier: BSD-2-Clause
"""The command ``spatten``. Exit codes: 0 done, 1 user's error, 2 wrong usage, 3 device error, 130 Ctrl-C."""

from . import threads  # isort: split

from .app import app, main

__all__ = ["app", "main", "threads"]
