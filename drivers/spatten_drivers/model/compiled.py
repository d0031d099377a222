# SPDX-License-Identifier: BSD-2-Clause
"""Plain functions that call each other, compiled by numba together.

The functions stay ordinary Python, so what NumPy's side runs and what is compiled is written once, and
numba is needed only when something is compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

_PACKAGE = Path(__file__).parent.parent


@cache
def _sources() -> str:
    """A hash of all sources that compiled code or its constants can come from."""
    files = sorted([*_PACKAGE.glob("*.py"), *_PACKAGE.glob("model/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def compiled(
    functions: tuple[Callable[..., Any], ...], exact: tuple[Callable[..., Any], ...] = ()
) -> SimpleNamespace:
    """The functions by name, compiled when they are first called; each may call those before it.

    Parameters
    ----------
    functions : in the order of who is called by whom.
    exact : those whose sums are exact in whatever order, so that the compiler may make vectors of them.

    The result is kept on disk. numba looks for it by the name of the outermost function and the date of its
    file alone; what it calls may lie in others, so a hash of them all is part of the name.
    """
    import numba

    made: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for function in functions:
        assert isinstance(function, FunctionType)
        if plain.get(function.__name__) is function:
            continue
        known = {name: made[name] for name in made if function.__globals__.get(name) is plain[name]}
        plain[function.__name__] = function
        twin = FunctionType(
            function.__code__,
            {**function.__globals__, **known},
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        twin.__qualname__ = f"{function.__qualname__}_{_sources()}"
        made[function.__name__] = numba.njit(
            cache=True, nogil=True, fastmath={"reassoc"} if function in exact else False
        )(twin)
    return SimpleNamespace(**made)
