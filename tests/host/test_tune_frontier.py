# SPDX-License-Identifier: BSD-2-Clause
"""The frontier: points measured once, what their page says of a loss, rules at equal bytes."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from spatten import catalog
from spatten.errors import InputError
from spatten.quality.data import Labelled
from spatten.quality.report import quality_text
from spatten.quality.tasks import Classification
from spatten.tune import Effort, Recipe, tune
from spatten.tune import data as data_module
from spatten.tune import knobs as knobs_module
from spatten.tune.frontier import __main__ as main_module
from spatten.tune.frontier import points as points_module
from spatten.tune.frontier import rules as rules_module
from spatten.tune.frontier.page import best, frontier_json, frontier_markdown, lines_of
from spatten.tune.frontier.points import Subject, Sweep, command, kept, write_record
from spatten.tune.knobs import FORMATS, formats_for
from spatten.tune.metrics import most_lost
from spatten.tune.rules import RULES
from spatten.tune.tasks import KINDS
from spatten_drivers import Quantization
from tests.host.tiny_models import WORDS, tiny_bert, tiny_gpt2

RECIPE = Recipe(epochs=1.0, batch=16, rate=1e-3)
TUNED = replace(RECIPE, dropout=False)
EFFORT = Effort(screens=2, trials=1, dense=RECIPE, tuned=TUNED, examples=16, look=4, report=4, control=True)
SEA = Subject("spam", "Sea or land", "tiny", max_tokens=24)


def _sentences() -> list[Labelled]:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(8, 24))) for _ in range(60)]
    return [Labelled(text, int("whale" in text)) for text in texts]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    """Two budgets of a tiny model on sentences made here, under the name of a shipped task."""
    home = tmp_path_factory.mktemp("frontier")
    tiny_bert(home / "bert")
    task = Classification("spam", "", "", _sentences, size=8, train_size=24, development=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.FOLDERS, "tiny", lambda: str(home / "bert"))
        patch.setitem(data_module.STUDIES, "spam", task)
        patch.setattr(data_module, "DEVELOPMENT", 8)
        patch.setattr(knobs_module, "FORMATS", {"4": FORMATS["4"]})
        found = Sweep([SEA], [5.0, 10.0], [0], EFFORT, home / "points", home / "build")
        list(found.run())
        yield found


def test_headline_budgets_come_first_and_with_all_seeds() -> None:
    sweep = Sweep([SEA], [2.0, 10.0], [0, 1, 2], EFFORT, Path(), Path())
    assert [(budget, seed) for _, budget, seed in sweep.points()] == [
        (10.0, 0),
        (10.0, 1),
        (10.0, 2),
        (2.0, 0),
    ]


def test_budgets_share_their_dense_model(sweep: Sweep) -> None:
    shared = sweep.home(SEA, 0) / "dense" / "log.jsonl"
    ends = [
        entry
        for line in shared.read_text("utf-8").splitlines()
        if "train_runtime" in (entry := json.loads(line))
    ]
    assert [entry["run"] for entry in ends] == ["dense", "control"]
    five, ten = kept(sweep.points_folder)
    assert five["scores"]["control"] == ten["scores"]["control"]
    assert five["x32"] < ten["x32"]


def test_a_point_is_that_of_a_tuning_by_itself(sweep: Sweep, tmp_path: Path) -> None:
    found = tune("tiny", "spam", "classification", tmp_path, budget=5.0, max_tokens=24, effort=EFFORT)
    alone, point = json.loads(json.dumps(found.to_dict())), kept(sweep.points_folder)[0]
    assert {name: point[name] for name in alone} == alone
    assert not list(sweep.folder.glob("*/*x/*.safetensors")), "weights stay only with --keep"


def test_a_point_is_measured_once(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points_module, "tune", lambda *_, **__: pytest.fail("tuned again"))
    assert sorted(point["budget"] for point in sweep.run()) == [5.0, 10.0]


def test_a_points_command_measures_that_point(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that its settings say comes back through the command line."""
    taken: list[Sweep] = []
    monkeypatch.setattr(main_module, "_measure", lambda found, rules: taken.append(found))
    point = kept(sweep.points_folder)[0]
    words = shlex.split(command(point["settings"]))
    assert words[:3] == ["python", "-m", "spatten.tune.frontier"]
    folders = ["--out", str(sweep.folder / "page.md"), "--points", str(sweep.points_folder)]
    done = CliRunner().invoke(main_module.app, [*words[3:], *folders, "--build", str(sweep.folder)])
    assert done.exit_code == 0, done.output
    (subject, budget, seed), *more = taken[0].points()
    assert (subject.name, budget, seed, more) == ("spam", 5.0, 0, [])
    effort = point["settings"]["effort"]
    assert asdict(taken[0].effort) == {**effort, "dense": {**effort["dense"], "rate": 1e-3 * 5 / 3}}
    by_tokens = {**point["settings"], "effort": {**effort, "look": None}}
    assert command(by_tokens) == command(point["settings"]).replace(" --look 4", "")
    before = {**point["settings"], "effort": {name: effort[name] for name in effort if name != "fresh"}}
    assert command(before) == command(point["settings"]).replace(" --no-rules", " --same-rows --no-rules")


@pytest.mark.parametrize(
    ("given", "mails", "windows"),
    [
        ([], (3000, None, 1000, 0.5), (160, 4, 32, 0.0)),
        (["--examples", "40", "--look", "6"], (40, 6, 1000, 0.5), (40, 6, 32, 0.0)),
        (["--distillation", "0.2"], (3000, None, 1000, 0.2), (160, 4, 32, 0.2)),
    ],
)
def test_windows_have_an_effort_of_their_own(
    given: list[str],
    mails: tuple[float | None, ...],
    windows: tuple[float | None, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few by default, as each has many labels, which teach alone; what is asked for holds for both."""
    taken: list[Sweep] = []
    monkeypatch.setattr(main_module, "_measure", lambda found, rules: taken.append(found))
    folders = [f"--{name}={tmp_path / name}" for name in ("out", "points", "build")]
    done = CliRunner().invoke(main_module.app, ["--tasks", "spam,perplexity-sotu", *folders, *given])
    assert done.exit_code == 0, done.output
    efforts = [taken[0].effort_of(subject) for subject in taken[0].subjects]
    assert [(e.examples, e.look, e.report, e.tuned.distillation) for e in efforts] == [mails, windows]
    assert [e.dense.epochs for e in efforts] == [3.0, 0.0]


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"rule": "latest"}', '{"data": "whales", "budget": 1, "seed": 0}']
)
def test_a_file_that_is_no_point_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text, "utf-8")
    with pytest.raises(InputError, match=r"other\.json' is no point of a frontier"):
        kept(tmp_path)


def test_a_budget_out_of_reach_is_said(sweep: Sweep) -> None:
    far = Sweep([SEA], [1000.0], [0], EFFORT, sweep.points_folder / "far", sweep.folder / "far")
    (point,) = far.run()
    assert "no schedule reads 1000x" in point["refused"]
    assert "no schedule reaches 1000x" in frontier_markdown([point], [], "plot.svg")


def test_rules_read_the_same_bytes(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "SHARES", (0.5,))
    rules_module.compare(SEA, 0, sweep.home(SEA, 0), sweep.points_folder)
    found = rules_module.kept(sweep.points_folder)
    assert [part["rule"] for part in found] == [variant.name for variant in rules_module.VARIANTS]
    fixed = [part for part in found if "spared" not in part["rule"]]
    assert len({part["x32"] for part in fixed}) == 1
    assert found[0]["change"]["value"] == 0.0
    page = frontier_markdown(kept(sweep.points_folder), found, "plot.svg")
    assert "### 50 % of the tokens" in page
    assert "Best on spam: **" in page
    assert f"Best on {rules_module.ALL}" not in page


def _comparison(data: str, paper: list[float], best: list[float]) -> list[dict[str, Any]]:
    """Of a task at one share: the second variant has ``best`` right, all others ``paper``."""
    named = {"data": data, "seed": 0, "home": data, "share": 0.5, "x32": 6.0 + len(paper) / 10}
    return [
        {**named, "rule": variant.name, "scores": best if place == 1 else paper}
        for place, variant in enumerate(rules_module.VARIANTS)
    ]


def test_rules_are_compared_on_all_tasks_together(tmp_path: Path) -> None:
    """What two tasks leave to chance each may be sure of both."""
    for data, worse, rows in (("spam", 4, 20), ("sentiment", 5, 30)):
        paper = [0.0] * worse + [1.0] * (rows - worse)
        write_record(tmp_path / "rules" / f"{data}.json", _comparison(data, paper, [1.0] * rows))
    found = rules_module.kept(tmp_path)
    every = {part["rule"]: part for part in found if part["data"] == rules_module.ALL}
    assert set(every) == {variant.name for variant in rules_module.VARIANTS}
    assert every["cumulative"]["quality"]["value"] == 41 / 50
    assert every["decayed"]["change"]["value"] == pytest.approx(0.18)
    assert every["decayed"]["x32"] == 8.5
    page = frontier_markdown([], found, "plot.svg")
    assert "| rule | sentiment, 9.0x, 30 | spam, 8.0x, 20 | all tasks, 8.5x, 50 |" in page
    assert "- Best on spam: **decayed**, not beyond chance" in page
    assert "- Best on all tasks: **decayed**, beyond chance." in page


def test_rules_of_points_that_were_measured_elsewhere_say_what_is_missing(
    sweep: Sweep, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"dense\.pt' is missing.* Give --points another folder"):
        rules_module.compare(SEA, 0, tmp_path, sweep.points_folder / "none")


def _point(budget: float, tuned: list[int], seed: int = 0) -> dict[str, Any]:
    """A point of 1200 rows that the dense model all has right."""
    rows = 1200
    scores = {"control": [1.0] * rows, "tuned": tuned + [1] * (rows - len(tuned)), "before": [0.0] * rows}
    settings = {
        "data": "spam",
        "task": "classification",
        "budget": budget,
        "max_tokens": 128,
        "seed": seed,
        "effort": asdict(EFFORT),
        "compared": KINDS["classification"].compared,
        "formats": list(formats_for(False)),
    }
    named = {
        "data": "spam",
        "budget": budget,
        "seed": seed,
        "x32": budget,
        "x16": budget / 2,
        "x32_before": budget,
        "development": {"helped": budget < 20.0},
    }
    schedule = {"tokens": [0.75, 0.25], "heads": [1.0, 0.5], "values": 1.0, "value_share": 0.0, "prior": 3.0}
    formats = asdict(Quantization(k_msb_bits=6, k_lsb_bits=4, v_msb_bits=6, v_lsb_bits=4, threshold=0.1))
    return {
        **named,
        "seconds": 60,
        "scores": scores,
        "settings": settings,
        "schedule": {**schedule, "quantization": formats},
    }


def test_what_the_page_says_of_a_loss() -> None:
    """Wrong nowhere; in two rows, where a point more may hide; in twelve."""
    points = [_point(7.0, []), _point(10.0, [0] * 2), _point(20.0, [0] * 12)]
    lines = lines_of(points)
    assert [line.verdict("tuned") for line in lines] == ["**no loss**", "**no loss**", "**lost**"]
    assert best(lines, "spam") is lines[1]
    assert best(lines[2:], "spam") is None
    headline = frontier_json(points, [])["headline"]["spam"]
    assert (headline["x32"], headline["x16"], headline["dense"]) == (10.0, 5.0, 1.0)
    assert headline["loss_ci"][0] <= 0.0 < headline["loss_ci"][1] <= 1.0
    page = frontier_markdown(points, [], "plot.svg")
    assert "6+4 bit below 0.1, tokens 50 % (75 25), heads 75 %, values 100 %" in page
    assert f"| SpamAssassin: ham or spam | 0 | {len(points[1]['scores']['tuned'])} | 10.00x |" in page
    assert page.count("values 100 %, prior 3, training undone |") == 1
    assert "SpamAssassin: ham or spam: not measured: 2x, 4x, 14x, 40x; 1 of 3 seeds at 10x." in page


def test_a_small_loss_that_is_sure_is_more_than_none_that_is_shown() -> None:
    """Wrong in 48 of 7,200 rows, beyond chance and at most one point; in one of 8, which shows nothing."""
    small, few = _point(10.0, [0] * 48), _point(20.0, [])
    small["scores"] = {name: scores * 6 for name, scores in small["scores"].items()}
    small["scores"]["tuned"] = [0.0] * 48 + [1.0] * 7152
    few["scores"] = {"control": [1.0] * 8, "tuned": [0.0] + [1.0] * 7, "before": [0.0] * 8}
    lines = lines_of([small, few])
    assert [line.verdict("tuned") for line in lines] == ["**lost**, at most 1", "no loss shown"]
    assert best(lines, "spam") is lines[0]


def test_of_efforts_for_one_budget_the_headline_may_hide_the_least() -> None:
    """Not that whose bytes are a hair fewer by chance."""
    more, less = _point(10.0, [0] * 2), _point(10.0, [])
    more["x32"], less["settings"]["effort"]["examples"] = 10.02, 8
    lines = lines_of([more, less])
    assert {line.verdict("tuned") for line in lines} == {"**no loss**"}
    found = best(lines, "spam")
    assert found is not None
    assert found.ratio() == 10.0


def test_a_line_names_rows_and_both_trainings() -> None:
    point = _point(10.0, [])
    recipe = replace(RECIPE, epochs=1.5, distillation=0.5)
    point["settings"]["effort"] = asdict(replace(EFFORT, dense=replace(RECIPE, epochs=3.0), tuned=recipe))
    (line,) = lines_of([point])
    assert line.training == "16 rows x 3, fresh 16 x 1.5, distilled"
    assert "| 16 | 3 + fresh 1.5 |" in frontier_markdown([point], [], "plot.svg")
    everything = deepcopy(point)
    everything["settings"]["effort"]["examples"] = None
    (line,) = lines_of([everything])
    assert line.training == "all rows x 3 + 1.5, distilled"
    del point["settings"]["effort"]["fresh"]
    (line,) = lines_of([point])
    assert line.training == "16 rows x 3 + 1.5, distilled"


@pytest.mark.parametrize("name", ["compared", "formats"])
def test_points_of_an_earlier_search_stand_apart(name: str) -> None:
    """The same command finds another schedule today, so they are no seed of its line."""
    today, earlier = _point(10.0, [], seed=1), _point(10.0, [])
    del earlier["settings"][name]
    assert [line.seeds for line in lines_of([today, earlier])] == [[1], [0]]
    page = frontier_markdown([today, earlier], [], "plot.svg")
    assert [line.split(" | ")[2] for line in page.splitlines() if line.endswith("| earlier |")] == ["0"]
    assert "Points marked *earlier*" in page
    assert "*earlier*" not in frontier_markdown([today], [], "plot.svg")


def test_few_rows_that_did_not_change_show_nothing() -> None:
    """McNemar's interval of them is zero wide, or as wide as the two rows of 300 that changed."""
    few = _point(10.0, [])
    few["scores"] = {name: [1.0] * 8 for name in few["scores"]}
    two = _point(10.0, [])
    two["scores"] = {"control": [0.0, 1.0] + [1.0] * 298, "tuned": [1.0, 0.0] + [1.0] * 298}
    lines = [line for point in (few, two) for line in lines_of([point])]
    assert [line.lost().high <= 1.0 for line in lines] == [True, True]
    assert [line.verdict("tuned") for line in lines] == ["no loss shown", "no loss shown"]


@pytest.mark.parametrize(
    ("better", "worse", "rows", "most"),
    [(0, 0, 8, 32.44), (1, 1, 300, 1.56), (20, 17, 600, 1.55), (31, 57, 600, 7.47)],
)
def test_the_most_that_may_be_lost_by_tangos_interval(
    better: int, worse: int, rows: int, most: float
) -> None:
    scores = np.array([1.0] * better + [0.0] * worse + [1.0] * (rows - better - worse))
    baseline = np.array([0.0] * better + [1.0] * (rows - better))
    assert most_lost(scores, baseline) == pytest.approx(most, abs=0.005)


def test_a_text_model_tells_of_prompts_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From windows of a text to the page: perplexity of the steps, and what else is told of them."""
    monkeypatch.setattr(knobs_module, "FORMATS", {"8": FORMATS["8"]})
    words, parts = random.Random(1), ["train"] * 4 + ["dev"] * 2 + ["test"] * 2
    rows = [{"text": " ".join(words.choices(WORDS, k=90)), "split": part} for part in parts]
    (tmp_path / "sea.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    model, data, out = tiny_gpt2(tmp_path / "gpt2"), str(tmp_path / "sea.jsonl"), tmp_path / "out"
    tune(model, data, "lm", out, budget=4.0, max_tokens=24, effort=replace(EFFORT, dense=Recipe(epochs=0.0)))
    found = json.loads((out / "tuned.json").read_text("utf-8"))
    told = KINDS["lm"].told
    assert set(found["asides"]) == set(told)
    named = {"data": "perplexity-sotu", "budget": 4.0, "seed": 0, "seconds": 1, "x32_before": 4.0}
    page = frontier_markdown([found | named], [], "plot.svg")
    for name, metric in told.items():
        assert f"{name}, dense as long" in page
        for whose in ("control", "tuned"):
            scores = np.array(found["asides"][name][whose])
            assert len(scores) == len(found["scores"]["tuned"])
            assert quality_text(metric, metric.estimate(scores)) in page


def test_seeds_are_one_line_of_all_their_rows() -> None:
    (line,) = lines_of([_point(10.0, [], seed) for seed in range(3)])
    assert line.seeds == [0, 1, 2]
    assert len(line.scores("tuned")) == 3600


@pytest.mark.parametrize(
    ("rule", "gains"),
    [
        ("cumulative", [0.7 + 0.2, 0.3 + 0.8]),
        ("decayed", [4 * 0.9, 4 * 1.1]),
        ("value-norm", [0.9 * 5, 1.1 * 1]),
        ("first-row", [0.7, 0.3]),
    ],
)
def test_rules_by_hand(rule: str, gains: list[float]) -> None:
    """One head, two queries, two keys whose values are 5 and 1 long, in layer 2."""
    probabilities = torch.tensor([[[[0.7, 0.3], [0.2, 0.8]]]])
    values = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
    torch.testing.assert_close(RULES[rule](probabilities, values, 2), torch.tensor([gains]))
