# SPDX-License-Identifier: BSD-2-Clause
"""``python3 -m tests.drivers.devices.litex.campaign``: transfers under faults, as counts.

The rows of docs/boards-link.md, and as the last line the totals as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

from tests.drivers.devices.litex.faults import Faults
from tests.drivers.devices.litex.test_faults import ALL_ON_THE_WIRE, DAMAGED, LATE, LOST, REPEATED, Bench

#: What is injected, whether on a serial line, transfers.
ROWS: dict[str, tuple[Faults, bool, int]] = {
    "5 % of packets lost": (LOST, False, 2500),
    "5 % repeated, up to 40 ms later": (REPEATED, False, 2500),
    "10 % late by up to 40 ms, so overtaken": (LATE, False, 2500),
    "2 % lost, 2 % repeated, 3 % late, 2 % damaged on the wire": (ALL_ON_THE_WIRE, False, 2500),
    "2 % damaged behind the check sums, bursts of 1 to 32 bits": (DAMAGED, False, 2500),
    "UART: one byte in 1,000 lost": (Faults(loss=1e-3), True, 500),
    "UART: one byte in 1,000 doubled": (Faults(repeat=1e-3), True, 500),
    "UART: one byte in 1,000 with a flipped bit": (Faults(damage=1e-3), True, 500),
}


def totals() -> dict[str, object]:
    """Transfers, wrong answers, errors reported and faults detected, over all rows."""
    outcomes, detected = Counter[str](), Counter[str]()
    for what, (faults, line, transfers) in ROWS.items():
        bench = Bench(faults, seed=1, line=line)
        got = bench.play(transfers, seed=2)
        errors = transfers - got["right"] - got["wrong"]
        sys.stdout.write(f"| {what} | {transfers:,} | {got['right']:,} | {errors:,} | {got['wrong']:,} |\n")
        outcomes += Counter(transfers=transfers, wrong=got["wrong"], errors=errors)
        detected += bench.counts
    return {
        "link_fault_transfers": outcomes["transfers"],
        "link_wrong_answers": outcomes["wrong"],
        "link_errors_reported": outcomes["errors"],
        "link_faults_detected": dict(detected),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(totals()) + "\n")
