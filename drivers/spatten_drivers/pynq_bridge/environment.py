# SPDX-License-Identifier: BSD-2-Clause
"""Whether PYNQ can be imported here; if not, why, and what to do."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import numpy as np

from ..errors import DeviceError

ADVICE = "give it an environment of its own: pip install 'spatten[pynq]' there, or make test-pynq in the tree"


def refusal() -> str | None:
    """Why the package pynq cannot be used in this environment, or ``None``."""
    if importlib.util.find_spec("pynq") is None:
        return "package pynq is not installed"
    if int(np.__version__.partition(".")[0]) >= 2:
        return f"package pynq needs NumPy below 2, and this environment has {np.__version__}"
    return None


def import_pynq() -> ModuleType:
    """The package pynq.

    Raises
    ------
    DeviceError : it is not installed, NumPy is too new for it, or it fails to import.
    """
    if reason := refusal():
        raise DeviceError(f"{reason}; {ADVICE}")
    try:
        return importlib.import_module("pynq")
    except ImportError as error:
        raise DeviceError(f"package pynq cannot be imported: {error}; {ADVICE}") from error
