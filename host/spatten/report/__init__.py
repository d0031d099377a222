# SPDX-License-Identifier: BSD-2-Clause
"""One self-contained HTML page about runs: :func:`build_report` counts, :func:`write_report` renders."""

from .build import Header, Section, build_report
from .write import check_writable, render_report, write_report

__all__ = ["Header", "Section", "build_report", "check_writable", "render_report", "write_report"]
