# SPDX-License-Identifier: BSD-2-Clause
"""What Verilator counted: lines that ran and bits that toggled, by unit of the design."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

ENTRY = re.compile(r"^C '(.*)' (\d+)$")
ASSIGNMENT = re.compile(r"^\s*(?:assign\s+)?(\w+)(?:\[[^]]*\])*\s*<?=[^=]")
DECLARATION = re.compile(r"^\s*(?:input|output|wire|reg|initial)\b")


@dataclass(frozen=True)
class Count:
    """One point that Verilator counts.

    Attributes
    ----------
    kind : ``line`` for a block of statements or a branch, ``toggle`` for one bit that rises, or that falls.
    lines : of the Verilog text, from 1.
    signal : that toggles, without its index.
    hits : how often.
    """

    kind: str
    lines: tuple[int, ...]
    signal: str
    hits: int


@dataclass
class Share:
    """Points of a unit, and those that were hit."""

    hit: int = 0
    total: int = 0
    missed: list[Count] = field(default_factory=list)

    def add(self, count: Count) -> None:
        self.total += 1
        if count.hits:
            self.hit += 1
        else:
            self.missed.append(count)

    def __str__(self) -> str:
        return f"{100 * self.hit / self.total:.1f} % of {self.total:,}" if self.total else "none"


def read_counts(path: Path) -> Iterator[Count]:
    """The points of a coverage file, in its order."""
    for entry in path.read_text("utf-8", errors="replace").splitlines():
        if found := ENTRY.match(entry):
            # Keys and values: \1 key \2 value.
            parts = (part.split("\2", 1) for part in found[1].split("\1") if part)
            keys = {part[0]: part[1] for part in parts if len(part) == 2}
            kind = "toggle" if keys["page"].startswith("v_toggle") else "line"
            lines = tuple(_numbers(keys.get("S", keys["l"])))
            signal = keys["o"].split("[")[0].split(":")[0] if kind == "toggle" else ""
            yield Count(kind, lines, signal, int(found[2]))


def _numbers(ranges: str) -> Iterator[int]:
    """``3-5,9`` as 3, 4, 5, 9."""
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def by_unit(counts: Iterable[Count], verilog: str, units: Mapping[str, str]) -> dict[str, dict[str, Share]]:
    """Per kind and unit what was hit.

    Parameters
    ----------
    counts : the points.
    verilog : the text they are of.
    units : the unit of a name in the text. A block of statements belongs to the unit of the first signal it
        assigns; what belongs to none is left out, and so are initial values, which no test can miss.
    """
    text = verilog.splitlines()
    shares: dict[str, dict[str, Share]] = {"line": defaultdict(Share), "toggle": defaultdict(Share)}
    for count in counts:
        names = [count.signal] if count.kind == "toggle" else _assigned(text, count.lines)
        unit = next((units[name] for name in names if units.get(name)), "")
        if unit:
            shares[count.kind][unit].add(count)
    return {kind: dict(sorted(found.items())) for kind, found in shares.items()}


def _assigned(text: list[str], lines: tuple[int, ...]) -> Iterator[str]:
    """What a block assigns; its own lines may end where the next branch begins, so go on to one that does."""
    own = [text[line - 1] for line in lines]
    if all(DECLARATION.match(line) for line in own):
        return
    for line in chain(own, islice(text, lines[-1], None)):
        if found := ASSIGNMENT.match(line):
            yield found[1]
        elif line.startswith(("end", "always")) and line not in own:
            return


def total(shares: Mapping[str, Share]) -> Share:
    """Of all units."""
    whole = Share()
    for share in shares.values():
        whole.hit += share.hit
        whole.total += share.total
        whole.missed += share.missed
    return whole
