# SPDX-License-Identifier: BSD-2-Clause
"""The page of `make soc-report`, its keys, and how a job's cycles are shared out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten.plan import JobFacts
from spatten_drivers import Quantization
from tests.fpga.core.cycle_shares import SHARES
from tests.fpga.plan.grid import decode, prefill
from tests.fpga.soc.report.__main__ import of_plan, table, whole
from tests.fpga.soc.report.jobs import (
    DRAM_BYTES_PER_CYCLE,
    PRESET,
    Played,
    operations,
    played,
    specs,
    together,
)
from tests.fpga.soc.report.keys import KEYS
from tests.fpga.soc.report.page import PAGE, STALLS, page
from tests.fpga.soc.report.picture import POINTS, draw
from tests.fpga.soc.report.traces import FILES, TOKENS, saving, spec_of
from tests.model.jobs import JobSpec, build

ASKED = (
    *("models", "mismatches", "decode_dram_share", "decode_dram_share_pruned", "prefill_busy_384"),
    *("per8_cycle_saving_over_byte_saving", "link_fault_transfers", "link_wrong_answers"),
    *("plan_error_max", "sim_cycles_per_s", "bulk_upload_bytes_per_cycle"),
)


def a_job(cycles: int, moved: int, mismatches: int = 0) -> Played:
    counters = Counter(dict.fromkeys(("busy_qk", "busy_pv", *STALLS), cycles // 2))
    shares = Counter(dict.fromkeys(SHARES, 0) | {"moved": moved // 8, "rows": cycles - moved // 8})
    return Played(1, mismatches, cycles, moved, 0, 9 * cycles, counters, shares, 1.0)


def made_up(wrong: int = 0) -> dict[str, Any]:
    """Numbers as the parts give them."""
    traces = {
        f"{trace} {token}": a_job(1000 // (1 + n), 4000 // (1 + n), wrong)
        for n, trace in enumerate(FILES)
        for token in TOKENS
    }
    return {
        "models": [
            {"name": "m", "jobs": 6, "cycles": 9, "job_cycles": 5, "seconds": 1.0, "digest_equal": True}
        ],
        "model_mismatches": wrong,
        "sim_cycles_per_s": 9,
        "decode_dram_share": 0.8512,
        "decode_dram_share_pruned": 0.7,
        "prefill_busy_384": 0.9,
        "job_figures": table(
            {name: a_job(1000, 6000, wrong) for name in ("decode", "decode_pruned", "prefill")}
        ),
        "per8_cycle_saving_over_byte_saving": saving(traces)["both"]["ratio"],
        "per8_savings": saving(traces),
        "trace_figures": table(traces),
        "link_fault_transfers": 10_000,
        "link_wrong_answers": 0,
        "link_packets_repeated": 12,
        "bulk_upload_bytes_per_cycle": 3.5,
        "bulk_download_bytes_per_cycle": 3.5,
        "plan_error_max": 0.04,
        "plan_error_max_random_jobs": 0.09,
        "plan_gateware": "0123",
        "plan_gateware_is": "",
    }


def test_all_keys_come_first_and_have_their_memory() -> None:
    numbers = json.loads(json.dumps(whole(made_up())))
    assert tuple(KEYS) == tuple(numbers)[: len(ASKED)] == ASKED
    assert set(numbers["measured_on"]) == set(ASKED)


def test_page_tells_figures_and_what_is_missed() -> None:
    told = page(whole(made_up()))
    row = next(line for line in told.splitlines() if "`decode_dram_share`" in line)
    assert row.endswith("| 85.1 % | at least 90.0 % | missed by 4.9 % |")
    assert "| decode, 992 keys | 1 | 1,000 | 6,000 | 75.0 % | 50.0 % | 0 |" in told
    assert "| m | 6 | 5 | 9 | 1.0 | all |" in told


def test_a_figure_that_is_missing_is_an_error() -> None:
    numbers = made_up()
    del numbers["prefill_busy_384"]
    with pytest.raises(KeyError, match="prefill_busy_384"):
        whole(numbers)


def test_answers_that_differ_are_counted_wherever_they_are() -> None:
    """A model's, three jobs' and four traces'."""
    assert whole(made_up())["mismatches"] == 0
    numbers = whole(made_up(wrong=1))
    assert numbers["mismatches"] == 1 + 3 + 4
    assert "missed by 8" in page(numbers)


def test_errors_of_the_plan_are_those_of_its_page() -> None:
    """docs/plan.md tells the same worst errors; its own tests hold it to the stored cycles."""
    found = of_plan()
    text = (Path(__file__).parents[3] / "docs" / "plan.md").read_text("utf-8")
    for error in (found["plan_error_max"], found["plan_error_max_random_jobs"]):
        assert f"worst error is **{100 * error:.1f} %**" in text


def test_jobs_add_up() -> None:
    both = together([a_job(1000, 4000), a_job(500, 4000)])
    assert (both.jobs, both.cycles, both.bytes, both.shares["moved"]) == (2, 1500, 8000, 1000)
    assert both.dram_share == pytest.approx(8000 / 12000)
    assert both.busy == pytest.approx(0.5)
    assert both.shares["refresh"] == 0
    assert set(both.shares) == set(SHARES)


def test_saving_is_cycles_over_bytes() -> None:
    found = {f"dense {token}": a_job(900, 8000) for token in TOKENS}
    found |= {f"per8 {token}": a_job(300, 2000) for token in TOKENS}
    assert saving(found)["both"] == {"cycle_saving": 3.0, "byte_saving": 4.0, "ratio": 0.75}


def test_jobs_are_the_shapes_that_are_told() -> None:
    found = specs()
    assert [
        (len(s.heads), s.head_dim, len(s.keys), s.widths.k_msb, len(s.queries)) for s in found.values()
    ] == [
        (12, 64, 992, 8, 1),
        (12, 64, 298, 8, 1),
        (4, 64, 384, 12, 384),
    ]


def test_operations_are_those_of_the_tokens_that_are_seen() -> None:
    """2 x 64 for each product of a row; 12 rows over 992 keys, and 4 x 384 over 384."""
    found = {name: operations(spec) for name, spec in specs().items()}
    assert found["decode"] == 2 * 64 * 12 * (992 + 992)
    assert found["prefill"] == 2 * 64 * 4 * 384 * (384 + 384)
    causal = replace(specs()["prefill"], causal=True, keep_values=1)
    assert operations(causal) == 2 * 64 * 4 * (384 * 385 // 2 + 384)


def test_the_picture_has_all_jobs(tmp_path: Path) -> None:
    path = tmp_path / "roofline.svg"
    draw(whole(made_up())["played"], path)
    assert path.read_text("utf-8").count("<use ") >= len(POINTS)


def test_a_layer_of_a_trace_is_a_job() -> None:
    rules = Quantization.progressive()
    facts = JobFacts(64, 12, 11, 1024, 204, np.array([204]), 40, 102, 10, 3, rules, causal=True)
    spec = spec_of(facts, seed=5)
    assert (spec.n_slots, len(spec.keys), len(spec.heads), spec.total_heads) == (1024, 204, 11, 12)
    assert (spec.keep_values, spec.keep_tokens, spec.keep_heads) == (40, 102, 10)
    assert (spec.widths.k_msb, spec.widths.k_lsb, spec.queries) == (
        rules.k_msb_bits,
        rules.k_lsb_bits,
        (1023,),
    )


@pytest.mark.deep
@pytest.mark.parametrize("spec", [decode(PRESET, 40), prefill(PRESET, 16, 4)], ids=["decode", "prefill"])
def test_every_cycle_goes_to_one_share(spec: JobSpec) -> None:
    """All from the push to the end; a beat of 16 bytes takes the data lines for two of them."""
    one = played(spec, build(spec))
    assert one.mismatches == 0
    assert sum(one.shares.values()) == one.cycles
    assert one.shares["moved"] * DRAM_BYTES_PER_CYCLE == one.bytes
    assert all(one.shares[name] for name in ("turnaround", "rows", "controller", "start", "end"))


def test_the_page_has_the_keys() -> None:
    """The page in docs/ was written by this report."""
    text = (Path(__file__).parents[3] / PAGE).read_text("utf-8")
    assert all(f"| `{key}` |" in text for key in KEYS)
