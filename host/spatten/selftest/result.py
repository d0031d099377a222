# SPDX-License-Identifier: BSD-2-Clause
"""What a self-test found: a verdict for each item, and one for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import SelftestFault

PASS, FAIL, UNMEASURED, NOT_RUN = "PASS", "FAIL", "not measured", "not run"

__all__ = ["FAIL", "NOT_RUN", "PASS", "UNMEASURED", "Finding", "Item", "Report", "SelftestFault"]


@dataclass(frozen=True)
class Finding:
    """What an item found where nothing is wrong.

    Attributes
    ----------
    text : in words; several lines are fine.
    figures : what was measured, for the file.
    measured : False where the device has nothing of the kind.
    """

    text: str
    figures: dict[str, Any] = field(default_factory=dict)
    measured: bool = True


@dataclass(frozen=True)
class Item:
    """One item with its verdict: ``PASS``, ``FAIL``, ``not measured`` or ``not run``."""

    name: str
    verdict: str
    text: str
    figures: dict[str, Any] = field(default_factory=dict)
    advice: str = ""
    seconds: float = 0.0


@dataclass
class Report:
    """All items of a self-test, in the order in which they ran.

    Attributes
    ----------
    device : uri that was asked for.
    about : the device, the programs and the machine.
    items : what was found.
    """

    device: str
    about: dict[str, Any]
    items: list[Item] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """Names of the items that failed."""
        return [item.name for item in self.items if item.verdict == FAIL]

    @property
    def unmeasured(self) -> list[str]:
        """Names of the items that had nothing to measure."""
        return [item.name for item in self.items if item.verdict == UNMEASURED]

    @property
    def verdict(self) -> str:
        """``PASS`` if no item failed and every item ran."""
        return FAIL if self.failed or any(item.verdict == NOT_RUN for item in self.items) else PASS

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for the file and for ``--json``."""
        items = [
            {
                "name": item.name,
                "verdict": item.verdict,
                "text": item.text,
                "advice": item.advice,
                "seconds": round(item.seconds, 3),
                "figures": item.figures,
            }
            for item in self.items
        ]
        return {
            "spatten_selftest": 1,
            "verdict": self.verdict,
            "failed": self.failed,
            "not_measured": self.unmeasured,
            "device": self.device,
            **self.about,
            "items": items,
        }
