# SPDX-License-Identifier: BSD-2-Clause
"""The comparison of rules from end to end on tiny models, and what its page says of numbers made up here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spatten import catalog
from spatten.catalog import load
from spatten.quality.tasks import Perplexity, Sample
from spatten.rules import sweep as sweep_module
from spatten.rules.decode import FLOAT, Reading
from spatten.rules.families import AS_BUILT, FAMILIES, Family
from spatten.rules.importance import VARIANTS as KEPT
from spatten.rules.merging import VARIANTS, encoded
from spatten.rules.page import rules_json, rules_markdown
from spatten.rules.planes import Layout
from spatten.rules.rule import Rule
from spatten.rules.sweep import Text, again, sweep
from spatten.schedule import Schedule
from spatten_drivers import Quantization
from tests.host.tiny_models import WORDS, tiny_bert, tiny_gpt2

SHORT = Perplexity(
    name="sea",
    title="Sea",
    licence="",
    load=str,
    size=2,
    tokenize=lambda _: list(range(1, 280)),
    window=40,
    scored=5,
    development=2,
    model="tiny",
)
WIDTHS = (Family("one plane", "", {f"{bits} bit": Rule(Layout((bits,))) for bits in (8, 4)}),)


@pytest.fixture
def sea(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tiny_gpt2(tmp_path / "gpt2")
    monkeypatch.setitem(catalog.FOLDERS, "tiny", lambda: str(tmp_path / "gpt2"))
    monkeypatch.setattr(sweep_module, "TEXTS", [SHORT])
    return tmp_path / "read"


def test_a_sweep_is_read_once(sea: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    (first,) = sweep(2, 2, sea, families=WIDTHS, progress=lambda what, *_: steps.append(what))
    chosen = set(first.chosen.values())
    assert steps == ["sea: choosing"] * 6 + ["sea: test"] * 2 * (1 + len(chosen))
    assert {budget for _, budget in first.chosen} == {2.0, 2.6, 3.0, 3.5, 3.9}
    found = {setting: part.x16 for (_, setting), part in first.readings.items() if part.read}
    assert found == {setting: {"8 bit": 2.0, "4 bit": 4.0}[setting] for setting in chosen}
    assert "4 bit" in chosen
    monkeypatch.setattr(sweep_module, "read_windows", None)
    assert sweep(2, 2, sea, families=WIDTHS) == [first]


def test_other_windows_are_those_not_read_before(sea: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = Family(AS_BUILT, "", WIDTHS[0].points)
    monkeypatch.setattr(sweep_module, "FAMILIES", [built])
    before = [Sample(2, development=True), Sample(1)]
    read = {tuple(window) for sample in before for window in SHORT.examples(sample)}
    (found,) = again(9, before, sea, 1)
    assert len(found.float.scores) == len([w for w in SHORT.examples(Sample(9, 1)) if tuple(w) not in read])
    assert set(found.readings) == {(FLOAT, ""), (AS_BUILT, "8 bit"), (AS_BUILT, "4 bit")}
    assert found.readings[AS_BUILT, "4 bit"].x16 == 4.0


def text(name: str, changes: dict[tuple[str, str], tuple[float, int]]) -> Text:
    """Six windows; each point is so much more surprised than float in all of them and reads so many bytes."""
    base = np.linspace(4.0, 5.0, 6)
    readings = {(FLOAT, ""): Reading(base.tolist(), [1.0] * 6)}
    for point, (more, read) in changes.items():
        readings[point] = Reading((base + more).tolist(), [0.9] * 6, read, 1000)
    chosen = {(family, 2.6): setting for family, setting in changes}
    return Text(name, f"Perplexity: {name}", chosen, readings)


def merged() -> list[dict[str, Any]]:
    scores = [[1.0] * 5 + [0.0] * 15, [1.0] * 15 + [0.0] * 5]
    same = {"task": "spam", "title": "", "share": 0.3, "x16": 4.7}
    whole = {**same, "share": 1.0, "x16": 2.0, "variant": VARIANTS[0].name, "scores": [1.0] * 20}
    pruned = ({**same, "variant": v.name, "scores": scores[i == 1]} for i, v in enumerate(VARIANTS))
    return [whole, *pruned]


def kept() -> list[dict[str, Any]]:
    names = ("float", *(variant.name for variant in KEPT))
    return [
        {"title": "Sea", "variant": name, "scores": [4.0 + i / 100, 5.0 + i / 100]}
        for i, name in enumerate(names)
    ]


def test_the_page_names_winners_and_what_a_device_knows() -> None:
    texts = [
        text("Sea", {("one plane", "6 bit"): (0.003, 375), ("refetch by key", "t"): (0.001, 250)}),
        text("Land", {("one plane", "6 bit"): (0.002, 370), ("refetch by key", "t"): (0.03, 240)}),
    ]
    others = [
        text("Sea", {(AS_BUILT, "a"): (0.002, 250), (AS_BUILT, "b"): (0.001, 200)}),
        text("Land", {(AS_BUILT, "a"): (0.001, 250), (AS_BUILT, "b"): (0.03, 200)}),
    ]
    page = rules_markdown(texts, others, merged(), kept(), "the command", development=4, test=6, scored=48)
    assert "not read above: 6 of Sea and 6 of Land." in page
    assert f"without a loss on any text: *{AS_BUILT}* (a) at 4.00x below 16 bit, 8.0x below 32, " in page
    assert "| b | 5.00x | +0.1 % (+0.1 to +0.1) | 90.0 % | 5.00x | +3.0 % (+3.0 to +3.0) |" in page
    assert "**Perplexity: Sea**: *refetch by key* (t) at 4.00x below 16 bit, 8.0x below 32, +0.1 % (" in page
    assert "**Perplexity: Land**: *one plane* (6 bit) at 2.70x" in page
    assert "the one that contract 1.1 was made after:\n  *one plane* (6 bit)" in page
    sea = page.partition("### Perplexity: Sea")[2].partition("###")[0]
    assert "| one plane (known) |  | +0.3 |" in sea
    assert "| refetch by key |  | **+0.1*** |" in sea or r"| refetch by key |  | **+0.1**\* |" in sea
    assert "| decayed by layer | +4.1 % (+4.1 to +4.1) [+3.0 % (+3.0 to +3.0)] |" in page
    assert f"- Best on spam, tokens 30 %: **{VARIANTS[1].name}**, beyond chance against dropping." in page
    assert "Best on Sea: **cumulative, 32 recent spared**, which a device knows; against" in page
    assert "With all tokens: spam 100.0 %." in page
    assert "reads no gain and no gain less" in page
    assert "75.0 % at 4.70x, +50.0 points (" in page
    assert all(f"- **{family.name}**" in page for family in FAMILIES)
    numbers = rules_json(texts, others, merged(), kept(), "c")
    assert numbers["decode"][0]["points"][1]["x16"] == pytest.approx(1000 / 375)
    assert numbers["again"][1]["points"][2]["x16"] == 5.0


def test_a_loss_is_no_winner() -> None:
    lost = [text("Sea", {("one plane", "4 bit"): (0.05, 250)})]
    page = rules_markdown(lost, lost, merged(), kept(), "the command", development=4, test=6, scored=48)
    assert "**Perplexity: Sea**: no rule keeps perplexity within 1 %." in page
    assert "as things stand: none" in page


def test_texts_are_embedded_in_their_order_and_bytes_are_those_of_live_rows(tmp_path: Path) -> None:
    loaded = load(tiny_bert(tmp_path / "bert"))
    texts = [" ".join(WORDS[:count]) for count in (9, 3, 12)]
    plain, whole = encoded(loaded, texts)
    fine, x16 = encoded(loaded, texts, Schedule(quantization=Quantization.static(8)))
    assert whole == 1.0
    assert x16 == 2.0
    np.testing.assert_allclose(fine, plain, atol=0.05)
    half = Schedule(tokens=(1.0, 0.5, 0.5, 0.5), quantization=Quantization.static(8))
    found = {variant.name: encoded(loaded, texts, half, variant) for variant in VARIANTS}
    assert len({ratio for _, ratio in found.values()}) == 1
    assert found[VARIANTS[0].name][1] > 2.5
    embedded = [embeddings for embeddings, _ in found.values()]
    assert all(not np.allclose(embedded[0], other) for other in embedded[1:])
