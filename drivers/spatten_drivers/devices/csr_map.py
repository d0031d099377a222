# SPDX-License-Identifier: BSD-2-Clause
"""The map of a system on chip: the ``csr.json`` that LiteX writes beside every bitstream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from ..errors import DeviceMismatchError

Found = TypeVar("Found")


class Region(NamedTuple):
    """A range of bus addresses, in bytes."""

    base: int
    size: int


@dataclass(frozen=True)
class CsrMap:
    """Where everything is on the bus.

    Attributes
    ----------
    source : of the map, for messages: the path of its file.
    addresses, sizes : of every register by LiteX's name: byte address, and words. A register of several words
        has its most significant one first.
    bases : byte address of every block of registers, and of memories among them such as ``identifier_mem``.
    constants : as LiteX exports them, names in lower case.
    memories : regions by name; device memory is ``main_ram``.
    """

    source: str
    addresses: Mapping[str, int]
    sizes: Mapping[str, int]
    bases: Mapping[str, int]
    constants: Mapping[str, Any]
    memories: Mapping[str, Region]

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The map in a file.

        Raises
        ------
        DeviceMismatchError : it cannot be read, or is no map that LiteX wrote.
        """
        advice = "It is written beside the bitstream; give the csr.json of the one that is loaded"
        try:
            record = json.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise DeviceMismatchError(f"{path}: cannot be read: {error.strerror}. {advice}") from error
        except ValueError as error:
            raise DeviceMismatchError(f"{path}: no JSON: {error}. {advice}") from error
        try:
            return cls.from_record(record, str(path))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DeviceMismatchError(
                f"{path}: no register map of LiteX: {type(error).__name__} {error}; expected csr_registers, "
                f"csr_bases, constants and memories. {advice}"
            ) from error

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: str) -> Self:
        """The map of a parsed ``csr.json``."""
        registers = record["csr_registers"]
        return cls(
            source=source,
            addresses={name: int(entry["addr"]) for name, entry in registers.items()},
            sizes={name: int(entry["size"]) for name, entry in registers.items()},
            bases={name: int(base) for name, base in record["csr_bases"].items()},
            constants=dict(record["constants"]),
            memories={
                name: Region(int(entry["base"]), int(entry["size"]))
                for name, entry in record["memories"].items()
            },
        )

    def address(self, name: str) -> int:
        """Byte address of a register.

        Raises
        ------
        DeviceMismatchError : the map has none of that name.
        """
        return self._found("register", name, self.addresses)

    def memory(self, name: str) -> Region:
        """A region of memory.

        Raises
        ------
        DeviceMismatchError : the map has none of that name.
        """
        return self._found("memory", name, self.memories)

    def _found(self, kind: str, name: str, among: Mapping[str, Found]) -> Found:
        if name not in among:
            raise DeviceMismatchError(
                f"{self.source}: has no {kind} {name!r}; it has {', '.join(among) or 'none'}. "
                "Give the csr.json that was written with the loaded bitstream"
            )
        return among[name]
