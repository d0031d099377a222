# SPDX-License-Identifier: BSD-2-Clause
"""Rendering a report and writing it whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ..errors import ReportError

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


def check_writable(path: Path) -> None:
    """Refuse a report path before the long work starts.

    Raises
    ------
    ReportError : the path is a folder, its folder is missing, or nothing can be written there.
    """
    if os.path.isdir(path):
        raise ReportError(
            f"report path {str(path)!r} is a folder; expected a file name such as {str(path / 'out.html')!r}"
        )
    if not os.path.isdir(path.parent):
        raise ReportError(
            f"report folder {str(path.parent)!r} does not exist; make it first: mkdir -p {path.parent}"
        )
    try:
        handle, probe = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    os.unlink(probe)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Render and write: a temporary file beside ``path`` takes its place in one step."""
    write_atomic(path, render_report(report))


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` whole or not at all; a failure or Ctrl-C leaves what was there."""
    scratch: str | None = None
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(scratch, 0o666 & ~_umask())
        os.replace(scratch, path)
        scratch = None
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if scratch is not None:
            os.unlink(scratch)


def _unwritable(path: Path, error: OSError) -> ReportError:
    return ReportError(
        f"report {str(path)!r} cannot be written: {error.strerror}; expected a writable path. Name another"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
