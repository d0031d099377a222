# SPDX-License-Identifier: BSD-2-Clause
"""The hook on all modules by which models are found that ask to be attached; torch offers it for such ends.

While there is one, torch takes a longer way into every module: a twentieth of a generation step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

_handle: RemovableHandle | None = None
_look: Callable[[nn.Module, Any], None]


def watch(look: Callable[[nn.Module, Any], None]) -> None:
    """Show ``look`` every module that is about to run; watching twice is harmless."""
    global _handle, _look
    _look = look
    if _handle is None:
        _handle = register_module_forward_pre_hook(look)


@contextmanager
def unwatched() -> Iterator[None]:
    """Nothing is looked at inside."""
    global _handle
    if _handle is None:
        yield
        return
    _handle.remove()
    _handle = None
    try:
        yield
    finally:
        watch(_look)


@contextmanager
def unwatched_if_alone() -> Iterator[None]:
    """As :func:`unwatched`, but only where no other thread could bring a model that has to be found."""
    if threading.active_count() > 1:
        yield
        return
    with unwatched():
        yield
