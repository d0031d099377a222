# SPDX-License-Identifier: BSD-2-Clause
"""Does a device do what the contract says? The same items on board, simulator and emulator."""

from .bench import Bench
from .result import FAIL, NOT_RUN, PASS, UNMEASURED, Finding, Item, Report
from .run import ITEMS, not_opened, run_selftest

__all__ = [
    "FAIL",
    "ITEMS",
    "NOT_RUN",
    "PASS",
    "UNMEASURED",
    "Bench",
    "Finding",
    "Item",
    "Report",
    "not_opened",
    "run_selftest",
]
