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
from typing import Any, TypeVar

_PACKAGE = Path(__file__).parent.parent
_LOWER = "lower"
_F = TypeVar("_F", bound=Callable[..., Any])


@cache
def _sources() -> str:
    """A hash of all sources that compiled code or its constants can come from."""
    files = sorted([*_PACKAGE.glob("*.py"), *_PACKAGE.glob("model/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def lowered_by(lower: Callable[..., Any]) -> Callable[[_F], _F]:
    """Compile a function to the LLVM code that ``lower`` writes, as for ``numba.extending.intrinsic``.

    The function itself says in plain Python what that code does.
    """

    def mark(function: _F) -> _F:
        function.__dict__[_LOWER] = lower
        return function

    return mark


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
    from numba.extending import intrinsic

    made: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for function in functions:
        assert isinstance(function, FunctionType)
        if plain.get(function.__name__) is function:
            continue
        known = {name: made[name] for name in made if function.__globals__.get(name) is plain[name]}
        plain[function.__name__] = function
        if _LOWER in function.__dict__:
            made[function.__name__] = intrinsic(prefer_literal=True)(function.__dict__[_LOWER])
            continue
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
