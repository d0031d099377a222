# SPDX-License-Identifier: BSD-2-Clause
"""A disk that is full, as far as a file's writer can tell: the kernel takes no byte beyond a limit."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process grows beyond ``size`` bytes: a write takes a part, the next one is ``EFBIG``.

    A full disk does the same with ``ENOSPC``; to fill one takes a file system of one's own.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
