# SPDX-License-Identifier: BSD-2-Clause
"""`spatten plan`: who is alive where, what fits, what it says. tests/fpga/plan checks its cycles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, DynamicCache, GPT2Config, GPT2Model
from typer.testing import CliRunner, Result

import spatten
from spatten import Schedule
from spatten.catalog import FOLDERS
from spatten.cli import app
from spatten.errors import InputError, ModelError
from spatten.plan import BOARDS, SHAPES, SIMULATED, machine, model_shape, plan_text, plan_trace
from spatten.plan.cost import job_cost
from spatten.plan.fit import kv_bytes
from spatten.plan.memory import IN_ORDER, Memory
from spatten.plan.plan import MOST_PASSES, phases
from spatten.plan.shapes import _of_config
from spatten.plan.traffic import traffic
from spatten.plan.workload import text_jobs
from spatten.presets import preset
from spatten.record import LayerRecord
from spatten.trace import read_trace
from spatten_drivers import Quantization, Sequence, Shape, open_device
from spatten_drivers.errors import ConfigError
from spatten_drivers.planes import row_bytes
from tests.host.test_trace import PRUNED, SMALL, authors_trace, written
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tokens

DENSE = Schedule(name="dense-8bit", quantization=Quantization.static(8))
SMALL_SHAPE = model_shape("gpt2-prose", layers=4, heads=4, head_dim=32)


# ------------------------------------------------------------------------------- who is alive where

#: Thresholds at which no row, or every row, refetches: what a plan is told.
FORMATS = {0.0: Quantization.static(8), 1.0: Quantization.progressive(6, 4, 1.0)}
SCHEDULES = {
    "dense": {},
    "tokens": {"tokens": (1.0, 0.8, 0.6, 0.3)},
    "from a prior": {"tokens": (1.0, 0.8, 0.6, 0.3), "prior": 1.0},
    "heads": {"heads": (1.0, 0.75, 0.75, 0.25)},
    "everything": {"tokens": (0.9, 0.8, 0.6, 0.3), "heads": (1.0, 0.75, 0.5, 0.5), "values": 0.3},
    "hardly anything": {"tokens": 0.05, "heads": 0.1},
}


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def ran(records: list[LayerRecord]) -> list[tuple[Any, ...]]:
    """What a run's record says of its jobs."""
    return [
        (r.slots, len(r.keys), r.queries, len(r.heads), len(r.survivors), r.refetched_rows, r.counters)
        for r in records
    ]


def planned(shape: Any, schedule: Schedule, prompt: int, steps: int, share: float) -> list[tuple[Any, ...]]:
    """What the plan says of the same jobs."""
    config = open_device("emulator").config
    return [
        (job.slots, job.keys, job.queries, job.heads, job.keep_tokens, job.refetched, traffic(job, config))
        for layers in text_jobs(shape, schedule, prompt, steps, share)
        for job in layers
    ]


def bytes_alone(counters: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counters.items() if name.startswith(("read_", "written_"))}


@pytest.mark.parametrize("share", FORMATS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_sentence_is_the_jobs_of_a_run(name: str, share: float) -> None:
    schedule, model = Schedule(quantization=FORMATS[share], **SCHEDULES[name]), sharp_bert()
    with spatten.attach(model, schedule=schedule, device="emulator") as session:
        model(tokens(1, 40))
        done = ran(session.record.layers)
    shape = _of_config("bert", model.config.to_dict())
    expected = planned(shape, schedule, 40, 0, share)
    assert [(*one[:-1], bytes_alone(one[-1])) for one in done] == expected


@pytest.mark.parametrize("share", FORMATS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_prompt_and_its_tokens_are_the_jobs_of_a_run(name: str, share: float) -> None:
    """The prompt is read whole: how a pruned one goes on depends on which tokens it kept."""
    schedule = Schedule(quantization=FORMATS[share], prune_prefill=False, **SCHEDULES[name])
    model, ids = sharp_gpt2(GPT2Model), tokens(1, 33)
    with spatten.attach(model, schedule=schedule, device="emulator") as session:
        cache = DynamicCache()
        for piece in ids.split([30, 1, 1, 1], dim=1):
            model(piece, past_key_values=cache)
        done = ran(session.record.layers)
    shape = _of_config("gpt2", model.config.to_dict())
    expected = planned(shape, schedule, 30, 3, share)
    assert [(*one[:-1], bytes_alone(one[-1])) for one in done] == expected


def test_shares_that_were_measured_give_the_bytes_that_were_read() -> None:
    """Steps that refetch by key and read few values; their prompt reads both planes, and all values."""
    formats = Quantization.by_key(4, 4, 1 / 16, 6)
    schedule = Schedule(quantization=formats, value_share=(0.2, 0.0, 0.3, 0.1), prune_prefill=False)
    model, ids = sharp_gpt2(GPT2Model), tokens(1, 33)
    with spatten.attach(model, schedule=schedule, device="emulator") as session:
        cache = DynamicCache()
        for piece in ids.split([30, 1, 1, 1], dim=1):
            model(piece, past_key_values=cache)
        prompt, steps = ([r for r in session.record.layers if bool(r.step) == late] for late in (0, 1))
    keys, lsb_row = sum(r.keys_fetched for r in steps), row_bytes(32, 4, 16)
    again = sum(r.counters["read_k_lsb"] for r in steps) / lsb_row / keys
    limited = [r for r in steps if r.layer != 1]
    read = sum(r.values_fetched for r in limited) / sum(r.keys_fetched for r in limited)
    assert 0.0 < again < 1.0
    assert 0.0 < read < 1.0
    shape, config = _of_config("gpt2", model.config.to_dict()), open_device("emulator").config
    first, *later = text_jobs(shape, schedule, 30, 3, again, read)
    assert [traffic(job, config) for job in first] == [bytes_alone(r.counters) for r in prompt]
    for name in ("read_k_msb", "read_k_lsb", "read_v_msb"):
        planned_bytes = sum(traffic(job, config)[name] for jobs in later for job in jobs)
        assert planned_bytes == pytest.approx(sum(r.counters[name] for r in steps)), name


def test_refetch_by_key_costs_softmax_a_second_pass_and_the_array_its_keys_alone() -> None:
    config = SIMULATED.config
    made = {}
    for share in (0.0, 0.25):
        schedule = Schedule(quantization=Quantization.by_key(), prune_prefill=False)
        *_, (job, *_) = text_jobs(SHAPES["gpt2-prose"], schedule, 200, 1, share)
        made[share] = job_cost(job, config, SIMULATED.memory).units
    assert made[0.25]["softmax"] == 2 * made[0.0]["softmax"]
    assert made[0.25]["Q x K array"] == 1.25 * made[0.0]["Q x K array"]


def test_assumed_shares_are_said_and_asked_for() -> None:
    def shown(*options: str) -> str:
        given = ["plan", "--model", "gpt2-prose", "--prompt", "100", "--generate", "2", *options]
        return " ".join(CliRunner().invoke(app, given).output.split())

    by_key = shown("--schedule", "keys-gpt2")
    assert "Keys that refetch are taken as 2%: see --refetch-share." in by_key
    assert "Values that are read are taken as 45%: see --values-share." in by_key
    assert "Rows that refetch are taken as 10%" in shown("--schedule", "progressive")
    assert "taken as" not in shown("--schedule", "dense")
    asked = shown("--schedule", "keys-gpt2", "--refetch-share", "0.3", "--values-share", "1.5")
    assert "values share is 1.5; expected 0 to 1" in asked


def test_a_pruned_prompt_is_the_jobs_of_a_run() -> None:
    schedule, model = Schedule(quantization=FORMATS[0.0], **SCHEDULES["everything"]), sharp_gpt2(GPT2Model)
    with spatten.attach(model, schedule=schedule, device="emulator") as session:
        model(tokens(1, 30), past_key_values=DynamicCache())
        done = ran(session.record.layers)
    expected = planned(_of_config("gpt2", model.config.to_dict()), schedule, 30, 0, 0.0)
    assert [(*one[:-1], bytes_alone(one[-1])) for one in done] == expected


# ------------------------------------------------------------------------------- shapes and boards


def test_shapes_are_those_of_the_models() -> None:
    for name, folder in FOLDERS.items():
        found = model_shape(folder())
        assert (found.layers, found.heads, found.head_dim, found.positions, found.causal) == (
            SHAPES[name].layers, SHAPES[name].heads, SHAPES[name].head_dim, SHAPES[name].positions,
            SHAPES[name].causal,
        )  # fmt: skip
    for name, config in (("bert-base", BertConfig()), ("gpt2-small", GPT2Config())):
        assert _of_config(name, config.to_dict()) == SHAPES[name]
        assert model_shape(f"{name}-random") == SHAPES[name]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ('{"model_type": "t5"}', "'t5'"), ('{"model_type": "gpt2"}', "n_layer")],
)
def test_a_wrong_model_is_named(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text, "utf-8")
    with pytest.raises(ModelError, match=said):
        model_shape(str(tmp_path))


def test_a_machine_is_a_board_or_all_of_its_parts() -> None:
    parts = {"preset": "ecp5-85f", "clock": 75e6, "dram": "ddr3-x16-512"}
    made = machine(**parts)
    assert machine("ecpix5", "ecp5-85f", 75e6).memory == made.memory == SIMULATED.memory
    assert made.peak_bytes == 600e6
    assert made.peak_operations == 4 * 64 * 75e6
    assert made.checked
    assert not machine(**parts | {"clock": 100e6}).checked
    assert not any(machine(name).checked for name in BOARDS)
    assert machine("colorlight-i9") == machine("colorlight_i9")
    for given, said in (
        ({"preset": "ecp5-85f"}, "no clock and no dram"),
        ({"board": "arty"}, "board is 'arty'"),
        ({"board": "ecpix5", "dram": "hbm"}, "dram is 'hbm'"),
        ({"board": "ecpix5", "clock": 75.0}, "1 to 1000 MHz"),
    ):
        with pytest.raises(ConfigError, match=said):
            machine(**given)


def test_a_beat_takes_the_words_that_it_is_made_of() -> None:
    assert machine("ecpix5").memory.beat_cycles == 2
    assert machine("orangecrab").memory.beat_cycles == 2  # 4 bytes, in the time of a word of 16
    assert machine("ulx3s").memory.beat_cycles == 4  # 16 bytes of words of 4
    assert machine("colorlight_i5").memory.beat_cycles == 1


def test_fewer_live_rows_of_a_plane_touch_no_more_pages() -> None:
    memory = Memory(page_bytes=2048)
    assert memory.pages(1024, 64, 1024) == 32
    counts = [memory.pages(1024, 64, live) for live in (1, 10, 100, 500, 1024)]
    assert counts == sorted(counts)
    assert counts[0] == pytest.approx(1, rel=0.1)
    assert IN_ORDER.pages(1024, 64, 100) == 0


# ------------------------------------------------------------------------------- what fits


def test_planes_are_those_that_the_driver_sets_apart() -> None:
    rules = Schedule(quantization=Quantization.progressive(6, 4, 0.1))
    with open_device("emulator") as device:
        sequence = Sequence(device, Shape(4, 4, 32, 100), rules.quantization)
        planes = (sequence.k.msb, sequence.k.lsb, sequence.v.msb, sequence.v.lsb)
        there = sum(plane.nbytes for plane in planes if plane is not None)
    assert SIMULATED.config == device.config
    assert kv_bytes(SIMULATED, SMALL_SHAPE, rules, 100) == there


@pytest.mark.parametrize(
    ("board", "shape", "prompt", "generate", "said"),
    [
        ("ecpix5", {}, 1020, 8, r"positions of the model, tokens: 1,028 asked, expected at most 1,024"),
        ("colorlight_i5", {}, 300, 0, r"sequence, tokens: 300 asked, expected at most 256"),
        ("ecpix5", {"heads": 20}, 64, 0, r"heads of a layer: 20 asked, expected at most 16"),
        ("ecpix5", {"head_dim": 80}, 64, 0, r"head dimension: 80 asked, expected one of 32, 64"),
        ("colorlight_i5", {"layers": 48}, 64, 0, r"device memory, MiB: [0-9.]+ asked, expected at most 8"),
    ],
)
def test_what_does_not_fit_is_named(
    board: str, shape: dict[str, int], prompt: int, generate: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said + r".*To mend it, (give|take)"):
        plan_text(machine(board), model_shape("gpt2-small", **shape), DENSE, DENSE, prompt, generate)


def test_counts_out_of_range_are_named() -> None:
    made, shape = SIMULATED, model_shape("minilm")
    for counts, said in (
        ((0, 0, 0.0), "prompt is 0"),
        ((8, 4, 0.0), "generates nothing"),
        ((8, 0, 1.5), "1.5"),
    ):
        with pytest.raises(InputError, match=said):
            plan_text(made, shape, DENSE, DENSE, *counts)


# ------------------------------------------------------------------------------- time


def test_pruned_tokens_take_less_time_and_refetches_more() -> None:
    made, shape = SIMULATED, model_shape("gpt2-small")
    rules = preset("paper-gpt2", shape.layers, 960)
    sure, unsure = (plan_text(made, shape, rules, DENSE, 960, 4, share) for share in (0.0, 1.0))
    assert sure.pruned["tokens"].cycles < unsure.pruned["tokens"].cycles < sure.dense["tokens"].cycles
    assert sure.pruned["tokens"].total_bytes < unsure.pruned["tokens"].total_bytes
    assert sure.dense["tokens"].cycles == unsure.dense["tokens"].cycles
    assert sure.pruned["tokens"].bottleneck == "DRAM"
    assert sure.dense["prompt"].bottleneck == "Q x K array"


def test_shares_are_shares() -> None:
    made = plan_text(SIMULATED, SMALL_SHAPE, DENSE, DENSE, 50, 3)
    for one in (*made.pruned.values(), *made.dense.values()):
        assert sum(one.held.values()) == pytest.approx(1.0)
        assert 0.0 < one.dram_share < 1.0
        assert all(0.0 < share <= 1.0 for share in one.busy.values())


def test_many_tokens_are_sampled_and_stand_for_all() -> None:
    made, rules = SIMULATED, DENSE
    count = MOST_PASSES + 61
    sampled = phases(made, text_jobs(SMALL_SHAPE, rules, 20, count, 0.0), count)["tokens"]
    assert sum(job.weight for job in sampled.jobs) == count * SMALL_SHAPE.layers
    whole = sum(
        phases(made, iter([layers]), 0)["prompt"].cycles
        for layers in list(text_jobs(SMALL_SHAPE, rules, 20, count, 0.0))[1:]
    )
    assert sampled.cycles == pytest.approx(whole, rel=1e-3)


def test_a_slower_clock_takes_more_time() -> None:
    slow, fast = (
        plan_text(machine("ecpix5", clock=clock), SMALL_SHAPE, DENSE, DENSE, 40, 2) for clock in (50e6, 100e6)
    )
    assert slow.pruned["tokens"].seconds > 1.8 * fast.pruned["tokens"].seconds


# ------------------------------------------------------------------------------- traces


def test_a_trace_becomes_a_job_a_layer(tmp_path: Path) -> None:
    made = plan_trace(SIMULATED, read_trace(written(tmp_path, SMALL)), "small", DENSE)
    jobs = [job.facts for job in made.pruned["tokens"].jobs]
    found = [(job.heads, job.keys, job.keep_values, job.refetched, job.quantization.k_bits) for job in jobs]
    assert found == [(2, 9, 8, 0, 8), (1, 8, 1, 0, 10), (2, 10, 10, 1, 12), (1, 4, 4, 0, 8)]
    assert [job.facts.keys for job in made.dense["tokens"].jobs] == [9, 9, 10, 10]
    assert np.all([job.facts.heads == 2 for job in made.dense["tokens"].jobs])


def test_the_authors_trace_fetches_the_rows_that_it_says() -> None:
    trace = read_trace(authors_trace(PRUNED))
    made = plan_trace(SIMULATED, trace, "per8", DENSE)
    fetched = sum(job.facts.heads * job.facts.keys for job in made.pruned["tokens"].jobs)
    assert fetched == trace.traffic().keys
    assert sum(job.facts.refetched for job in made.pruned["tokens"].jobs) == trace.traffic().refetched_rows


# ------------------------------------------------------------------------------- the command


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_tables_say_what_the_json_says() -> None:
    machine = ("--preset", "ecp5-85f", "--clock", "75", "--dram", "ddr3-x16-512")
    given = (*machine, "--model", "gpt2-prose", "--prompt", "100", "--generate", "4")
    shown, record = command(*given), json.loads(command(*given, "--json").stdout)
    assert shown.exit_code == 0, shown.stderr
    speed = record["pruned"]["tokens"]["passes_a_second"]
    assert f"{speed:,.1f}" in shown.stdout
    assert record["machine"]["checked_against_simulation"]
    assert "predicted, not measured on a board" in shown.stdout.replace("\n", " ")
    assert {"prompt", "tokens"} == set(record["dense"])
    assert set(record["pruned"]["prompt"]["bytes"]) > {"read_k_msb", "written_output"}


def test_refetches_and_unchecked_boards_are_told() -> None:
    shown = command("--board", "ulx3s", "--model", "minilm", "--prompt", "20", "--schedule", "progressive")
    said = " ".join(shown.stdout.split())
    assert "Rows that refetch are taken as 10%" in said
    assert "were not compared with simulation" in said


def test_help_teaches() -> None:
    shown = " ".join(command("--help").stdout.split())
    for part in ("Examples", "--refetch-share", "colorlight_i5", "no figure was measured on a board"):
        assert part in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "ecp5-85f"), "no clock and no dram"),
        (("--board", "ecpix5", "--prompt", "2000"), "does not fit"),
        (("--schedule", "fast"), "schedule is 'fast'"),
        (("--model", "minilm", "--generate", "3"), "generates nothing"),
        (("--trace", "nowhere.csv"), "cannot be read"),
    ],
)
def test_bad_input_is_named_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    failed = command(*arguments)
    assert failed.exit_code == 1
    assert said in " ".join(failed.stderr.split())
    assert "Traceback" not in failed.stderr


def test_a_roofline_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        drawn = command("--model", "minilm", "--prompt", "20", "--roofline", path)
        assert drawn.exit_code == 0, drawn.stderr
    assert first.read_bytes() == second.read_bytes()
    assert "sentence" in first.read_text("utf-8")
