# SPDX-License-Identifier: BSD-2-Clause
"""The figures of the report: what each means, on what it was measured, and what it is to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DDR3 = "ECPIX-5 DDR3"
SYSTEM = "system"
LINK = "the link's gateware, on-chip memory"
NONE = "an analytic model"


@dataclass(frozen=True)
class Key:
    """A figure of build/soc.json.

    Parameters
    ----------
    memory : it was measured on.
    meaning : in a sentence.
    least, most : what it is to reach, or to stay below; ``None``: nothing is asked.
    percent : people read it in percent.
    """

    memory: str
    meaning: str
    least: float | None = None
    most: float | None = None
    percent: bool = False

    def text(self, value: Any) -> str:
        """The value for people; of a list, how many it has."""
        if isinstance(value, list):
            return f"{len(value)}"
        return f"{100 * value:.1f} %" if self.percent else f"{value:,}"

    def target(self) -> str:
        """What is asked, for people."""
        if self.least is not None:
            return f"at least {self.text(self.least)}"
        return "" if self.most is None else f"at most {self.text(self.most)}"

    def verdict(self, value: Any) -> str:
        """Whether it is reached, and if not, by how much it is missed."""
        if self.least is not None:
            return "reached" if value >= self.least else f"missed by {self.text(self.least - value)}"
        if self.most is not None:
            return "reached" if value <= self.most else f"missed by {self.text(value - self.most)}"
        return ""


KEYS: dict[str, Key] = {
    "models": Key(SYSTEM, "models that ran whole on the RTL; the table below has each"),
    "mismatches": Key(
        f"{SYSTEM}; single jobs: {DDR3}",
        "answers of all jobs here, and outputs of the models, that differ from the software model's",
        most=0,
    ),
    "decode_dram_share": Key(
        DDR3,
        "one query of 12 heads of 64 over 992 keys, all of them, 8 bit: bytes that the job reads and writes "
        "over those that the data lines could have moved from its push to its end",
        least=0.90,
        percent=True,
    ),
    "decode_dram_share_pruned": Key(
        DDR3, "the same with 30 % of the keys, at random places: 298 of 992", percent=True
    ),
    "prefill_busy_384": Key(
        DDR3,
        "384 queries, 384 keys, 4 heads of 64, 12 bit, nothing pruned: share of all cycles in which the less "
        "busy of the two arrays worked",
        least=0.85,
        percent=True,
    ),
    "per8_cycle_saving_over_byte_saving": Key(
        DDR3,
        "the authors' traces as jobs, first and last generated token, all layers: cycles dense over pruned, "
        "divided by bytes dense over pruned; 1 if time fell as bytes did",
        least=0.80,
    ),
    "link_fault_transfers": Key(
        LINK,
        "transfers of the checked link in which of the packets of each direction 5 % are lost, 5 % repeated, "
        "5 % delayed, and so on: swapped, damaged, cut, invented",
        least=10_000,
    ),
    "link_wrong_answers": Key(LINK, "campaigns of 1,000 of them that ended with a wrong answer", most=0),
    "plan_error_max": Key(
        NONE,
        "greatest error of `spatten plan`'s cycles over the chosen jobs of its grid; worked out from the "
        "cycles that `make plan-grid` stored, not simulated here",
        most=0.05,
        percent=True,
    ),
    "sim_cycles_per_s": Key(
        SYSTEM,
        "cycles a second of the simulation, over the whole models, with what the models compute on the host",
    ),
    "bulk_upload_bytes_per_cycle": Key(
        f"the link's gateware, {DDR3}",
        "bytes of payload that the link's bulk path writes into DRAM a cycle, requests one behind the other",
    ),
}
