# SPDX-License-Identifier: BSD-2-Clause
"""Training state on disk: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError

NAME = "checkpoint.pt"


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state; a crash or Ctrl-C at any moment leaves the former checkpoint as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{NAME}.{os.getpid()}"
    try:
        with scratch.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(folder / NAME)
    finally:
        scratch.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The state that was saved last.

    Raises
    ------
    ModelError : there is none, or it cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        raise ModelError(
            f"no checkpoint {str(path)!r}; expected one of an earlier run: train without --resume first"
        )
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load documents no closed set of errors for a damaged file
        raise ModelError(
            f"checkpoint {str(path)!r} cannot be read ({type(error).__name__}); delete it and train again"
        ) from error
