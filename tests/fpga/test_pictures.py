# SPDX-License-Identifier: BSD-2-Clause
"""Pictures say what the design and the simulation say."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from spatten_drivers.config import PRESETS
from spatten_fpga.core.core import Core
from tests.fpga.core.test_core import CONFIGS
from tests.fpga.pictures import blocks
from tests.fpga.pictures.__main__ import step
from tests.fpga.pictures.life import Span, life
from tests.fpga.pictures.streams import Stream, streams
from tests.fpga.pictures.timeline import LANES, draw_timeline
from tests.model.jobs import build

SMALL = next(iter(CONFIGS.values()))


def test_streams_are_those_of_the_design() -> None:
    found = streams(Core(PRESETS["ecp5-85f"]))
    assert Stream("engine.scores.store", "engine.scores.array", 2 * 16 * 12) in found
    ways = {(one.source, one.sink) for one in found}
    assert ("engine.softmax.topk", "engine.values.compact") in ways
    assert ("memory", "engine.reads") in ways
    assert ("engine.reads", "memory") in ways
    assert ("engine.softmax.topk", "engine.softmax.scores") not in ways


@pytest.mark.parametrize("preset", ["ecp5-25f", "ecp5-85f"])
def test_block_diagram_is_the_same_each_time(preset: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        blocks.draw_blocks(path, PRESETS[preset])
    assert first.read_bytes() == second.read_bytes()
    assert "Q x K array" in first.read_text("utf-8")


def test_a_unit_without_a_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(blocks.PLACES, "engine.softmax.topk")
    with pytest.raises(KeyError, match=r"engine\.softmax\.topk"):
        blocks.draw_blocks(tmp_path / "blocks.svg", PRESETS["ecp5-25f"])


@pytest.fixture(scope="module")
def spans() -> list[Span]:
    return life(build(step(SMALL, SMALL.max_sequence)))


def test_a_row_goes_through_the_units_in_their_order(spans: list[Span]) -> None:
    lanes = (
        "K, MSB plane",
        "Q x K array",
        "softmax",
        "top-k: in",
        "top-k: out",
        "prob x V array",
        "normalise",
    )
    for row in range(4):
        starts = [min(s.start for s in spans if (s.lane, s.row) == (lane, row)) for lane in lanes]
        assert all(before < after for before, after in pairwise(starts))


def test_only_the_unsure_row_fetches_lsbs_and_has_a_second_pass(spans: list[Span]) -> None:
    assert {span.row for span in spans if span.lane == "K, LSB plane"} == {1}
    softmax = [span.row for span in spans if span.lane == "softmax"]
    assert softmax.count(1) > softmax.count(0)


def test_timeline_shows_every_lane(spans: list[Span], tmp_path: Path) -> None:
    path = tmp_path / "timeline.svg"
    draw_timeline(path, spans, "a title")
    text = path.read_text("utf-8")
    assert all(lane in text for lane in LANES)
    assert {span.lane for span in spans} == set(LANES)
