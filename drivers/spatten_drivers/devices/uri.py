# SPDX-License-Identifier: BSD-2-Clause
"""What every kind of device needs to read its uri: ``kind?option=value&...`` or ``kind://place?...``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl

from ..errors import ConfigError, UriError
from ..sizes import bytes_of


class Refusal(NamedTuple):
    """Why a kind of device was not opened."""

    name: str
    reason: str


def options_of(kind: str, parts: SplitResult, defaults: Mapping[str, str]) -> dict[str, str]:
    """The options behind the question mark, over their defaults.

    Raises
    ------
    UriError : one of them is not an option of this kind.
    """
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(given) - set(defaults)):
        raise UriError(f"the {kind} has no option {unknown}; it has {list(defaults)}")
    return {**defaults, **given}


def require_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is none of ``choices``."""
    if value not in choices:
        raise UriError(f"{name} is {value!r}; expected one of {list(choices)}")


def memory_option(text: str) -> int:
    """Bytes of an option such as ``64MiB``."""
    try:
        return bytes_of(text)
    except ConfigError as error:
        raise UriError(str(error)) from None
