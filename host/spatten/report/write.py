# SPDX-License-Identifier: BSD-2-Clause
"""Rendering a report and writing it whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ..atomic import check_writable, write_atomic

__all__ = ["check_writable", "readable_bytes", "render_report", "write_atomic", "write_report"]

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def readable_bytes(count: float) -> str:
    """``1536`` as ``1.5 KiB``."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f} {unit}"
    return f"{count:.0f} B"


def render_report(report: dict[str, Any]) -> str:
    """The page. Every text is escaped; nothing is loaded from anywhere."""
    environment = Environment(
        loader=PackageLoader("spatten.report", ""),
        autoescape=select_autoescape(["html", "jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = readable_bytes
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    return environment.get_template("template.html.jinja").render(report)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Render and write: a temporary file beside ``path`` takes its place in one step."""
    write_atomic(path, render_report(report))
