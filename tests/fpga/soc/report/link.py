# SPDX-License-Identifier: BSD-2-Clause
"""Transfers over the checked link under faults, on its simulated gateware, and its bytes a cycle."""

from __future__ import annotations

from typing import Any

from rich.progress import track

from spatten_drivers.link import FaultRates
from tests.fpga.link.figures import figures as link_figures
from tests.fpga.link.test_endpoint import exercised

SEEDS, TRANSFERS, RATE = 10, 1000, 0.05
MEMORY = "ECPIX-5 DDR3"


def under_faults() -> dict[str, int]:
    """Transfers, packets that were sent again, and campaigns that ended with a wrong answer.

    A campaign ends at its first wrong answer, so one is counted for it. Errors of the link are no answer:
    they end the report.
    """
    wrong = repeated = 0
    for seed in track(range(SEEDS), "the link under faults"):
        try:
            client = exercised(FaultRates.all(RATE), seed, TRANSFERS, 1.0 if seed % 2 else 0.7)
        except AssertionError:
            wrong += 1
        else:
            repeated += client.packets_repeated
    return {
        "link_fault_transfers": SEEDS * TRANSFERS,
        "link_wrong_answers": wrong,
        "link_packets_repeated": repeated,
    }


def figures() -> dict[str, Any]:
    """The keys of the report."""
    board = link_figures()[MEMORY]
    return {
        **under_faults(),
        "bulk_upload_bytes_per_cycle": board["upload_bytes_per_cycle"],
        "bulk_download_bytes_per_cycle": board["download_bytes_per_cycle"],
    }
