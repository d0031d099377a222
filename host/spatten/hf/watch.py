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

_lock = threading.Lock()
_look: Callable[[nn.Module, Any], None] | None = None
_handle: RemovableHandle | None = None
_blind = 0  # how many are inside :func:`unwatched`


def watch(look: Callable[[nn.Module, Any], None]) -> None:
    """Show ``look`` every module that is about to run; watching twice is harmless."""
    global _look
    with _lock:
        _look = look
        _set_hook()


@contextmanager
def unwatched() -> Iterator[None]:
    """Nothing is looked at inside."""
    _count(1)
    try:
        yield
    finally:
        _count(-1)


@contextmanager
def unwatched_if_alone() -> Iterator[None]:
    """As :func:`unwatched`, but only where no other thread could bring a model that has to be found."""
    if threading.active_count() > 1:
        yield
        return
    with unwatched():
        yield


def _count(change: int) -> None:
    global _blind
    with _lock:
        _blind += change
        _set_hook()


def _set_hook() -> None:
    """Have the hook exactly while somebody looks and nobody forbids it."""
    global _handle
    wanted = _look is not None and not _blind
    if wanted and _handle is None:
        assert _look is not None
        _handle = register_module_forward_pre_hook(_look)
    elif not wanted and _handle is not None:
        _handle.remove()
        _handle = None
