# SPDX-License-Identifier: BSD-2-Clause
"""Files written whole or not at all. Needs no package: hosts of boards write files too."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import ReportError


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
