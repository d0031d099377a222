# SPDX-License-Identifier: BSD-2-Clause
"""``make soc-report``: figures of the whole system; writes docs/soc.md with its picture, and build/soc.json.

``--only jobs link`` measures these parts anew and keeps the others as they stand in build/soc.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from spatten.report.write import write_atomic
from tests.fpga.plan.measure import gateware_digest, stored
from tests.fpga.plan.page import errors, is_random

from . import jobs, link, models, traces
from .keys import KEYS
from .page import PAGE, page
from .picture import draw

NUMBERS = Path("build/soc.json")


def of_jobs() -> dict[str, Any]:
    """Single jobs behind the board's memory."""
    found = jobs.all_played()
    return {
        "decode_dram_share": round(found["decode"].dram_share, 4),
        "decode_dram_share_pruned": round(found["decode_pruned"].dram_share, 4),
        "prefill_busy_384": round(found["prefill"].busy, 4),
        "job_figures": table(found),
    }


def of_traces() -> dict[str, Any]:
    """The authors' traces."""
    found = traces.traces_played()
    savings = traces.saving(found)
    return {
        "per8_cycle_saving_over_byte_saving": savings["both"]["ratio"],
        "per8_savings": savings,
        "trace_figures": table(found),
    }


def of_models() -> dict[str, Any]:
    """Whole models."""
    return models.figures(models.models_compared())


def of_plan() -> dict[str, Any]:
    """Errors of the plan against the cycles that were stored."""
    found = stored()
    off = {name: abs(error) for name, error in errors(found["jobs"]).items()}
    same = found["gateware"] == gateware_digest()
    return {
        "plan_error_max": round(max(error for name, error in off.items() if not is_random(name)), 4),
        "plan_error_max_random_jobs": round(max(error for name, error in off.items() if is_random(name)), 4),
        "plan_gateware": found["gateware"],
        "plan_gateware_is": "" if same else " (they have changed since)",
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "plan": of_plan,
    "jobs": of_jobs,
    "link": link.figures,
    "traces": of_traces,
    "models": of_models,
}


def table(found: dict[str, jobs.Played]) -> dict[str, Any]:
    """For JSON."""
    return {
        name: {**vars(one), "dram_share": round(one.dram_share, 4), "busy": round(one.busy, 4)}
        for name, one in found.items()
    }


def whole(numbers: dict[str, Any]) -> dict[str, Any]:
    """The keys that are asked for first; jobs that differ are counted, whatever part they belong to."""
    played = numbers["job_figures"] | numbers["trace_figures"]
    differing = numbers["model_mismatches"] + sum(one["mismatches"] for one in played.values())
    complete = {**numbers, "mismatches": differing, "played": played}
    return {
        **{name: complete[name] for name in KEYS},
        "measured_on": {name: key.memory for name, key in KEYS.items()},
        **{name: value for name, value in complete.items() if name not in KEYS},
    }


def measured(parts: Iterable[str], numbers: dict[str, Any]) -> dict[str, Any]:
    """``numbers`` with these parts anew; what is there is written after each."""
    for part in parts:
        start = time.perf_counter()
        sys.stderr.write(f"{part} ...\n")
        numbers |= PARTS[part]()
        write_atomic(NUMBERS, json.dumps(numbers, indent=1) + "\n")
        sys.stderr.write(f"{part}: {time.perf_counter() - start:.0f} s\n")
    return numbers


def main() -> None:
    """Measure, and write the page and the numbers."""
    parser = argparse.ArgumentParser(prog="python -m tests.fpga.soc.report", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these, keep the others")
    only = parser.parse_args().only
    NUMBERS.parent.mkdir(exist_ok=True)
    kept = json.loads(NUMBERS.read_text("utf-8")) if only and NUMBERS.is_file() else {}
    numbers = whole(measured(only or PARTS, kept))
    write_atomic(NUMBERS, json.dumps(numbers, indent=1) + "\n")
    write_atomic(PAGE, page(numbers))
    draw(numbers["played"])


if __name__ == "__main__":
    main()
