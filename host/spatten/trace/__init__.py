# SPDX-License-Identifier: BSD-2-Clause
"""Workload traces of the SpAtten authors: their CSV files, and the bytes they fetch (``docs/traces.md``)."""

from .read import read_trace
from .rows import WIDTHS_READ_AS_8, Trace, TraceRow, Traffic

__all__ = ["WIDTHS_READ_AS_8", "Trace", "TraceRow", "Traffic", "read_trace"]
