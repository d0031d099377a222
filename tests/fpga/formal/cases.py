# SPDX-License-Identifier: BSD-2-Clause
"""A proof of the list, and the small geometry that most of them are made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from spatten_fpga.core.geometry import Geometry
from spatten_fpga.formal.proof import Proof
from spatten_fpga.formal.sabotage import KINDS
from spatten_fpga.formal.sby import PDR

Build = Callable[[str | None], Proof]


class Tiny(Geometry):
    """A geometry of any sizes, also those that no configuration allows: data only passes through most units.

    Parameters
    ----------
    config : fields of the configuration.
    sizes : what is derived from it, given here instead.
    """

    def __init__(self, config: dict[str, Any], **sizes: Any) -> None:
        for name, value in {"config": SimpleNamespace(**config), **sizes}.items():
            object.__setattr__(self, name, value)

    lanes = segment = keys_a_word = padded_dims = operand_bits = score_bits = beat_bits = None
    index_bits = buffer_words = outputs = None

    @property
    def distance_bits(self) -> int:
        """As in any geometry."""
        return self.score_bits


@dataclass(frozen=True)
class Case:
    """A proof.

    Attributes
    ----------
    unit : what is proven.
    sizes : parameters it is proven for.
    says : the properties in words.
    build : makes it, sound or with a saboteur behind a source.
    engine, depth : how, and in how many cycles (BMC).
    quick : CI runs it.
    wrongs : deliberate faults by name, each to be found; ``None``: all kinds on every source but ``spared``.
    wrong_depth : cycles in which they must show.
    """

    unit: str
    sizes: str
    says: str
    build: Build
    engine: str = PDR
    depth: int = 0
    quick: bool = False
    wrongs: tuple[str, ...] | None = None
    spared: tuple[str, ...] = ()
    wrong_depth: int = 20

    def sabotages(self) -> Iterator[str]:
        """Names of the faults, as the builder takes them."""
        if self.wrongs is not None:
            yield from self.wrongs
            return
        for source, fields in self.build(None).sources.items():
            kinds = [*KINDS, *(f"{kind}.{field}" for kind in ("changes", "corrupts") for field in fields)]
            yield from (f"{source}:{kind}" for kind in kinds if f"{source}:{kind}" not in self.spared)
