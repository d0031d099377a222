# SPDX-License-Identifier: BSD-2-Clause
"""Bytes of a schedule are the device's, and a budget is kept by the greatest share of tokens that does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spatten.errors import InputError
from spatten.tune import budget as budget_module
from spatten.tune.budget import Bytes, ratio_of
from spatten.tune.data import Examples
from spatten.tune.knobs import FORMATS, Knobs
from spatten.tune.measure import device_scores
from spatten.tune.search import LADDER, knobs_of, widest
from spatten.tune.tasks import Foretelling, Retrieving, TuneTask
from spatten_drivers import Device
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tokens

NOTHING = Examples([], [], [])
PAPER, GENERATION = (Knobs.paper(4, generates=generates) for generates in (False, True))


def _ids(length: int) -> list[int]:
    return tokens(1, length, seed=length)[0].tolist()


def _pairs(device: Device) -> Bytes:
    features = [{"input_ids": _ids(a), "match_ids": _ids(b)} for a, b in ((9, 30), (17, 9), (40, 23))]
    return Bytes(sharp_bert(), Retrieving(NOTHING, 48), features, device)


def _windows(device: Device) -> Bytes:
    return Bytes(sharp_gpt2(), Foretelling(NOTHING, 40), [{"input_ids": _ids(40)}] * 2, device)


@pytest.mark.parametrize("formats", ["8", "4"])
@pytest.mark.parametrize("make", [_pairs, _windows], ids=["texts", "generation"])
def test_planned_bytes_are_those_of_the_device(make: object, formats: str, device: Device) -> None:
    counted: Bytes = make(device)  # type: ignore[operator]
    generates = counted.task.generates
    knobs = replace(PAPER, formats=formats, tokens=0.6, heads=0.7, values=0.5, generates=generates, recent=3)
    run = device_scores(counted.model, counted.task, counted.features, knobs.schedule(), device)
    assert counted.ratio(knobs.schedule()) == pytest.approx(run.ratio(32), rel=1e-12)


def test_a_progressive_schedule_is_run(device: Device) -> None:
    counted = _pairs(device)
    schedule = replace(PAPER, formats="6+4 below 0.1", tokens=0.6).schedule()
    run = device_scores(counted.model, counted.task, counted.features, schedule, device)
    assert counted.ratio(schedule) == run.ratio(32)


@pytest.mark.parametrize("formats", ["6", "4+4 by key, V 4"])
def test_values_that_data_decide_are_counted_by_a_run(formats: str, device: Device) -> None:
    counted = _windows(device)
    knobs = replace(GENERATION, formats=formats, value_share=0.03)
    run = device_scores(counted.model, counted.task, counted.features, knobs.schedule(), device)
    assert counted.ratio(knobs.schedule()) == run.ratio(32) < counted.planned(knobs.schedule())
    every = replace(knobs, value_share=0.0).schedule()
    assert run.ratio(32) > counted.ratio(every)


def test_keys_refetch_in_searches_for_generations_alone() -> None:
    opened = {known.generates: [knobs.formats for knobs in known.openings()] for known in (PAPER, GENERATION)}
    assert set(FORMATS) - set(opened[True]) == {"4 clamped"}  # the rows of a step would be clamped too
    assert set(FORMATS) - set(opened[False]) == {f"4+4 by key, V {bits}" for bits in (8, 6, 4)}
    turned = {name.split()[0] for name, _ in GENERATION.neighbours()} - {
        name.split()[0] for name, _ in PAPER.neighbours()
    }
    assert turned == {"recent", "decay", "value_share"}


def test_a_gentle_opening_is_that_of_the_preset() -> None:
    from spatten.presets import preset

    ours = next(k for k in GENERATION.openings() if k.formats == "4+4 by key, V 4" and k.heads == 1.0)
    known = preset("lean-keys-gpt2", 4, 40)
    schedule = ours.schedule()
    for name in ("quantization", "value_share", "protect_last", "decay", "prune_prefill"):
        assert getattr(schedule, name) == getattr(known, name)
    assert schedule.plan(4).head_ratios == known.plan(4).head_ratios


def test_a_budget_is_kept_by_the_most_tokens(device: Device) -> None:
    counted = _pairs(device)
    knobs, ratio = counted.fitted(replace(PAPER, formats="4"), 11.0)
    assert ratio >= 11.0
    assert 0.05 < knobs.tokens < 1.0
    assert counted.ratio(replace(knobs, tokens=knobs.tokens + 0.03).schedule()) < 11.0
    whole, _ = counted.fitted(replace(PAPER, formats="4"), 2.0)
    assert whole.tokens == 1.0
    assert counted.fitted(replace(PAPER, formats="12"), 40.0) is None


def test_a_chosen_schedule_is_counted_on_more_examples(device: Device) -> None:
    """Of a progressive one, where data decide: what one example reads is not what all three read."""
    counted = _pairs(device)
    knobs = replace(PAPER, formats="6+4 below 0.1")
    few, many = (counted.fitted(knobs, 7.0, examples) for examples in (1, 3))
    for fitted, examples in ((few, 1), (many, 3)):
        assert fitted[1] == counted.ratio(fitted[0].schedule(), examples) >= 7.0
    assert few[1] != counted.ratio(few[0].schedule(), 3)


def test_what_data_decide_is_fitted_in_few_runs(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many tokens as the budget allows, to a few percent; all or none where it is far."""
    counted, runs = _windows(device), list[float]()
    knobs = replace(GENERATION, formats="4+4 by key, V 4", value_share=0.003)
    all_tokens, fewest = (counted.ratio(replace(knobs, tokens=share).schedule()) for share in (1.0, 0.05))
    budget = (all_tokens + fewest) / 2
    ratio = counted.ratio
    monkeypatch.setattr(counted, "ratio", lambda *given: runs.append(ratio(*given)) or runs[-1])
    fitted, reached = counted.fitted(knobs, budget)
    assert budget <= reached == ratio(fitted.schedule())
    assert ratio(replace(fitted, tokens=fitted.tokens + 0.1).schedule()) < budget
    assert 0.05 < fitted.tokens < 1.0
    assert 1 < len(runs) <= budget_module.RUNS
    runs.clear()
    like = replace(knobs, tokens=1.0), all_tokens
    again, reached = counted.fitted(knobs, budget, like=like)
    assert budget <= reached == ratio(again.schedule())
    runs.clear()
    assert counted.fitted(knobs, budget, like=(again, reached))[0].tokens == pytest.approx(
        again.tokens, abs=0.02
    )
    assert len(runs) == 1
    assert counted.fitted(knobs, all_tokens - 0.1)[0].tokens == 1.0
    runs.clear()
    assert counted.fitted(knobs, 100 * fewest) is None
    assert len(runs) == 1
    monkeypatch.setattr(budget_module, "RUNS", 1)  # the plan alone aims short: the fewest tokens are left
    assert counted.fitted(knobs, budget)[0].tokens == 0.05


def test_knobs_of_another_version_are_refused() -> None:
    for foreign in ({"merge": True}, {"formats": "3"}, {"tilt": None}):
        with pytest.raises(InputError, match="knobs that this version does not know"):
            knobs_of({**PAPER.to_dict(), **foreign})


def test_knobs_survive_json_and_stay_legal() -> None:
    seen = {PAPER, GENERATION}
    for _ in range(3):
        seen |= {knobs for known in list(seen)[:20] for _, knobs in known.neighbours()}
    assert len(seen) > 50
    for knobs in seen:
        assert knobs_of(knobs.to_dict()) == knobs
        schedule = replace(knobs, tokens=0.5).schedule()
        assert schedule.plan(4).token_ratios[0] == 1.0
        assert schedule.quantization == FORMATS[knobs.formats]


def test_the_papers_rule_is_the_start() -> None:
    from spatten import paper_schedule

    ours, paper = replace(PAPER, tokens=0.7).schedule(), paper_schedule(4, tokens=0.7, heads=0.9)
    assert ours.plan(4).token_ratios == pytest.approx(paper.plan(4).token_ratios, abs=1e-4)
    assert ours.plan(4).head_ratios == pytest.approx(paper.plan(4).head_ratios, abs=1e-4)


@pytest.mark.parametrize("limit", [3.0, 4.0, 13.0, 40.0])
def test_the_widest_budget_that_holds_is_found_in_few_trials(limit: float) -> None:
    tried = []
    found = widest(lambda budget: tried.append(budget) or budget <= limit)
    assert found == max((budget for budget in LADDER if budget <= limit), default=None)
    assert len(tried) <= 4


@pytest.mark.parametrize(("text", "ratio"), [("10x", 10.0), ("2.5", 2.5), (" 40X ", 40.0)])
def test_budgets_are_factors(text: str, ratio: float) -> None:
    assert ratio_of(text) == ratio


@pytest.mark.parametrize("text", ["", "ten", "0.5x", "nan", "inf"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 10x"):
        ratio_of(text)


def test_every_task_is_known_by_its_name() -> None:
    from spatten.tune.data import COLUMNS
    from spatten.tune.tasks import KINDS

    assert set(KINDS) == set(COLUMNS)
    assert all(issubclass(kind, TuneTask) for kind in KINDS.values())
