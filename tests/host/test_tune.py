# SPDX-License-Identifier: BSD-2-Clause
"""From a file of examples to a model folder that holds its schedule, on models built here; no network."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    GPT2LMHeadModel,
)
from typer.testing import CliRunner

import spatten
from spatten.cli import app
from spatten.cli.tune import _missed
from spatten.errors import InputError, ModelError
from spatten.hf.own import ORIGIN_KEY, SCHEDULE_KEY, own_schedule
from spatten.hf.session import session_of
from spatten.quality.metrics import ACCURACY, Estimate
from spatten.quality.subject import Traffic
from spatten.quality.tasks import Sample
from spatten.tune import Effort, Outcome, Recipe, tune
from spatten.tune import budget as budget_module
from spatten.tune import knobs as knobs_module
from spatten.tune import tuning as tuning_module
from spatten.tune.data import STUDIES, Examples, read_examples
from spatten.tune.knobs import FORMATS
from spatten.tune.measure import (
    Measured,
    batched_scores,
    dense_answers,
    device_scores,
    expected_distance,
    expected_loss,
)
from spatten.tune.metrics import lost_points
from spatten.tune.result import Training
from spatten.tune.search import NoScheduleError, Search, knobs_of
from spatten.tune.surrogate import surrogate
from spatten.tune.tasks import (
    KINDS,
    SOFTNESS,
    Answering,
    Classifying,
    Feature,
    Foretelling,
    Regressing,
    Retrieving,
)
from spatten.tune.trainer import _last_whole, recipes, train
from spatten_drivers.errors import ConfigError, SpattenError
from tests.host.tiny_models import WORDS, sharp_bert, sharp_gpt2, tiny_bert, tokens

RECIPE = Recipe(epochs=1.0, batch=16, rate=1e-3)
EFFORT = Effort(screens=7, trials=1, dense=RECIPE, tuned=RECIPE, look=8, report=8)


def _sentences(count: int) -> list[dict[str, Any]]:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(8, 24))) for _ in range(count)]
    return [{"review": text, "kind": "sea" if "whale" in text else "land"} for text in texts]


@pytest.fixture(scope="module", autouse=True)
def _few_runs() -> Iterator[None]:
    """Few formats, and progressive ones counted on one text: that is what takes the time here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knobs_module, "FORMATS", {name: FORMATS[name] for name in ("8", "4+4 below 0.1", "4")})
        patch.setattr(budget_module, "RUN_ON", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned classifier, by the command line."""
    home = tmp_path_factory.mktemp("tune")
    tiny_bert(home / "bert")
    (home / "data.jsonl").write_text("\n".join(map(json.dumps, _sentences(80))), "utf-8")
    given = [
        "tune",
        home / "bert",
        "--data",
        home / "data.jsonl",
        "--output",
        home / "out",
        "--budget",
        "10x",
    ]
    names = [
        "--column",
        "text=review",
        "--column",
        "label=kind",
        "--max-tokens",
        "24",
        "--device",
        "emulator",
    ]
    work = ["--epochs", "1", "--dense-epochs", "1", "--screens", "8", "--look", "8", "--trials", "2"]
    small = ["--report-examples", "8", "--trial-epochs", "0.3", "--json"]
    result = CliRunner().invoke(app, [str(part) for part in [*given, *names, *work, *small]])
    assert result.exit_code == 0, result.stderr
    (home / "stdout.json").write_text(result.stdout, "utf-8")
    return home / "out"


def test_the_command_says_what_it_reached(folder: Path) -> None:
    said = json.loads((folder.parent / "stdout.json").read_text("utf-8"))
    assert said["x32"] == 2 * said["x16"] >= 9.5
    assert set(said["quality"]) == {"dense", "before", "tuned"}
    assert said["schedule"]["name"] == "tuned-10x"


def test_the_folder_runs_anywhere(folder: Path) -> None:
    """Plain attention ignores the schedule, "spatten" takes it, and the run is the one that was measured."""
    loaded = AutoModelForSequenceClassification.from_pretrained
    plain, tuned = loaded(folder), loaded(folder, attn_implementation="spatten")
    assert plain.config.id2label == {0: "land", 1: "sea"}
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder)("the whale rose from a dark sea")["input_ids"]])
    with torch.inference_mode():
        assert plain(ids).logits.shape == (1, 2)
        tuned(ids)
    session = session_of(tuned.base_model)
    assert session.schedule_name == "tuned-10x"
    said = json.loads((folder / "tuned.json").read_text("utf-8"))
    assert spatten.Schedule.from_dict(said["schedule"]) == own_schedule(plain.config)
    assert getattr(plain.config, ORIGIN_KEY)["task"] == "classification"
    session.detach()


def test_run_takes_the_folders_schedule(folder: Path) -> None:
    arguments = ["run", "the whale rose", "--model", str(folder), "--device", "emulator", "--json"]
    said = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert said["schedule"] == "tuned-10x"


def test_the_measured_scores_are_those_of_the_folder(folder: Path) -> None:
    said = json.loads((folder / "tuned.json").read_text("utf-8"))
    data, columns = said["settings"]["data"], said["settings"]["columns"]
    task = KINDS["classification"](read_examples(data, "classification", columns), 24)
    features = task.features(AutoTokenizer.from_pretrained(folder), task.examples.test)[:8]
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    again = device_scores(model, task, features, "own", "emulator")
    assert again.scores.tolist() == said["scores"]["tuned"]
    assert again.ratio(32) == said["x32"]


def test_report_plot_and_log_are_there(folder: Path) -> None:
    page = (folder / "report.html").read_text("utf-8")
    assert "tuned-10x" in page
    assert "Looked at, the best" in page
    assert (folder / "tuned.svg").read_text("utf-8").startswith("<?xml")
    log = [json.loads(line) for line in (folder / "tuning" / "log.jsonl").read_text("utf-8").splitlines()]
    assert {entry["run"] for entry in log if "run" in entry} == {"dense", "tuned", "trial-0", "trial-1"}
    assert sum("look" in entry for entry in log) > 5


def _arguments(home: Path, **changes: Any) -> dict[str, Any]:
    tiny_bert(home / "bert")
    (home / "data.jsonl").write_text("\n".join(map(json.dumps, _sentences(60))), "utf-8")
    given = {"model": str(home / "bert"), "data": str(home / "data.jsonl"), "task": "classification"}
    names = {
        "columns": {"text": "review", "label": "kind"},
        "max_tokens": 24,
        "effort": EFFORT,
        "budget": 9.0,
    }
    return {**given, **names, "output": home / "out", **changes}


def test_stopped_it_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the last training, from a checkpoint: what comes out is what an unbroken run gives."""
    arguments = _arguments(tmp_path)
    whole = tune(**{**arguments, "output": tmp_path / "whole"})
    monkeypatch.setattr("spatten.tune.trainer.SAVE_STEPS", 1)

    def interrupt(what: str, done: int, total: int) -> None:
        if (what, done) == ("tuned", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(**arguments, progress=interrupt)
    looks, seen = [], []
    monkeypatch.setattr(tuning_module, "expected_distance", None)  # nothing is looked at again
    monkeypatch.setattr(tuning_module, "expected_loss", lambda *a: looks.append(1) or expected_loss(*a))
    again = tune(**arguments, progress=lambda what, done, _: seen.append((what, done)))
    assert looks == [1]  # of the tuned model
    assert min(done for what, done in seen if what == "tuned") == 2
    assert again.tuned.scores.tolist() == whole.tuned.scores.tolist()
    assert again.schedule == whole.schedule
    monkeypatch.setattr(tuning_module, "train", None)
    assert tune(**arguments).tuned.ratio(32) == again.tuned.ratio(32)
    with pytest.raises(InputError, match=r"holds a tuning with \{'seed': 0\}"):
        tune(**arguments, seed=1)


def test_what_was_scored_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the control is scored, and between a training and its scores: the weights are kept."""
    arguments = _arguments(tmp_path, effort=replace(EFFORT, control=True))
    trained, train, scores = list[str](), tuning_module.train, tuning_module.batched_scores
    monkeypatch.setattr(tuning_module, "train", lambda *a, **k: trained.append(a[5]) or train(*a, **k))

    def interrupt(*given: Any) -> Any:
        if "control" in trained:
            raise KeyboardInterrupt
        return scores(*given)

    with monkeypatch.context() as patch:
        patch.setattr(tuning_module, "batched_scores", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(**arguments)
    outcome = tune(**arguments)
    assert trained == ["dense", "control", "tuned"]
    assert outcome.control is not None
    assert sorted(path.name for path in (tmp_path / "out" / "tuning").glob("*.pt")) == [
        "dense.pt",
        "tuned.pt",
    ]
    assert not [path for path in (tmp_path / "out" / "tuning").iterdir() if path.is_dir()]


def test_a_checkpoint_that_was_being_written_is_not_taken_up(tmp_path: Path) -> None:
    for step in (50, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-50" / "trainer_state.json").write_text("{}")
    assert _last_whole(tmp_path) == str(tmp_path / "checkpoint-50")
    assert not (tmp_path / "checkpoint-100").exists()
    (tmp_path / "checkpoint-50" / "trainer_state.json").write_text('{"global_st')
    assert _last_whole(tmp_path) is None
    assert _last_whole(tmp_path / "none") is None


def test_an_error_of_the_command_keeps_its_traceback_for_debug(tmp_path: Path) -> None:
    words = ["tune", "none", "--data", "none.csv", "--output", str(tmp_path / "out"), "--budget", "0x"]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "budget is '0x'; expected a factor such as 10x" in result.stderr) == (1, True)
    assert isinstance(CliRunner().invoke(app, ["--debug", *words]).exception, InputError)


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    """Nor would what is asked for next be "other arguments for the same folder"."""
    arguments = _arguments(tmp_path)
    refused = ({"max_tokens": 100}, {"budget": 1000.0}, {"device": "nowhere"}, {"data": "none.csv"})
    for changes in refused:
        with pytest.raises(SpattenError):
            tune(
                **{**arguments, **changes},
                progress=lambda what, *_: pytest.fail(what) if what == "dense" else None,
            )
    assert not (tmp_path / "out").exists()


def test_examples_that_changed_since_are_noticed(tmp_path: Path) -> None:
    arguments = _arguments(tmp_path)

    def stop(what: str, *_: int) -> None:
        if what == "dense":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(**arguments, progress=stop)
    with (tmp_path / "data.jsonl").open("a") as stream:
        stream.write('\n{"review": "one more", "kind": "sea"}')
    with pytest.raises(InputError, match="a tuning whose data changed since"):
        tune(**arguments)


def test_two_at_once_into_one_folder_are_refused(tmp_path: Path) -> None:
    """The second is; the first goes on, and leaves the folder to whoever comes next."""
    arguments, refused = _arguments(tmp_path), list[str]()

    def begin_another(what: str, done: int, _: int) -> None:
        if (what, done) == ("dense", 1):
            with pytest.raises(InputError, match="is at work in another command") as caught:
                tune(**arguments)
            refused.append(str(caught.value))

    outcome = tune(**arguments, progress=begin_another)
    assert refused
    assert tune(**arguments).tuned.scores.tolist() == outcome.tuned.scores.tolist()


def test_a_folder_that_holds_a_model_is_not_written_over(tmp_path: Path) -> None:
    arguments = _arguments(tmp_path)
    with pytest.raises(InputError, match="holds the model itself"):
        tune(**{**arguments, "output": tmp_path / "bert"})
    tiny_bert(tmp_path / "other")
    with pytest.raises(InputError, match="holds a model, which would be overwritten"):
        tune(**{**arguments, "output": tmp_path / "other"})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        tune(**{**arguments, "output": tmp_path / "file"})
    with pytest.raises(ModelError, match=r"Expected one of \['gpt2-prose', 'minilm'\], a folder"):
        tune(**{**arguments, "model": str(tmp_path / "none")})


def test_a_model_of_half_precision_is_trained_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another head too: the one of three labels is made anew."""
    arguments = _arguments(tmp_path)
    arguments["model"] = tiny_bert(tmp_path / "half", labels=3)
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "half").half().save_pretrained(
        tmp_path / "half"
    )
    seen = list[Any]()

    def stop(model: Any, *_: Any, **__: Any) -> None:
        seen.extend([model.dtype, model.config.num_labels])
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning_module, "train", stop)
    with pytest.raises(KeyboardInterrupt):
        tune(**arguments)
    assert seen == [torch.float32, 2]


def test_a_training_that_diverged_is_said(tmp_path: Path) -> None:
    wild = replace(RECIPE, rate=1e30)
    with pytest.raises(
        InputError, match=r"training 'dense' at a rate of 1e\+30 came to weights that are no numbers"
    ):
        tune(**_arguments(tmp_path, effort=replace(EFFORT, dense=wild)))


def test_a_training_without_use_is_undone(tmp_path: Path) -> None:
    """The folder has the weights from before it, as they were measured, and the command says so."""
    blunt = replace(EFFORT, tuned=replace(RECIPE, rate=0.3))
    outcome = tune(**_arguments(tmp_path, effort=blunt))
    assert outcome.training.tuned > outcome.training.untuned
    assert outcome.training.lost >= 0
    assert outcome.tuned is outcome.before
    assert _missed(outcome)[0].startswith("note: training raised the loss on the development rows from 0.")
    out = tmp_path / "out"
    saved = AutoModelForSequenceClassification.from_pretrained(out).state_dict()
    dense = torch.load(out / "tuning" / "dense.pt", weights_only=True)
    assert all(torch.equal(weights, dense[name]) for name, weights in saved.items())
    assert json.loads((out / "tuned.json").read_text("utf-8"))["development"]["helped"] is False


def test_a_training_that_raised_the_loss_and_has_more_right_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The greater loss is that of a surer model; which weights were scored is told by the scores."""
    losses = iter([0.5, 0.6])
    real = tuning_module._Tuning._if_it_helps

    def measured(self: Any, *given: Any) -> Training:
        monkeypatch.setattr(tuning_module, "expected_loss", lambda *_: next(losses))
        monkeypatch.setattr(tuning_module, "lost_points", lambda metric, *pair: Estimate(-1.0, -2.0, 1.0))
        return real(self, *given)

    monkeypatch.setattr(tuning_module._Tuning, "_if_it_helps", measured)
    outcome = tune(**_arguments(tmp_path))
    assert outcome.training == Training(0.5, 0.6, -1.0)
    assert outcome.training.helped
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").state_dict()
    tuned = torch.load(tmp_path / "out" / "tuning" / "tuned.pt", weights_only=True)
    assert all(torch.equal(weights, tuned[name]) for name, weights in saved.items())


def test_what_the_development_rows_kept_and_the_test_rows_did_not_is_said(folder: Path) -> None:
    said = json.loads((folder / "tuned.json").read_text("utf-8"))
    measured = Measured(np.zeros(8), Traffic(100, 400))
    outcome = Outcome(
        said["settings"],
        ACCURACY,
        spatten.Schedule(),
        Measured(np.array(said["scores"]["dense"])),
        None,
        measured,
        measured,
        Training(0.5, 0.4),
        [],
        [],
        "emulator",
    )
    assert _missed(outcome) == ["note: 8.00x on the test rows; 10x is kept on the development rows"]
    bound = replace(
        outcome, settings={**said["settings"], "budget": None, "max_loss": 2.0}, dense=Measured(np.ones(8))
    )
    (line,) = _missed(bound)
    assert line.startswith("note: 100.0 lost on the test rows")
    assert _missed(replace(bound, dense=Measured(np.zeros(8)))) == []


def test_a_bound_of_loss_gives_the_fewest_bytes_that_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = replace(EFFORT, trial_epochs=0.2, dense=replace(RECIPE, epochs=0.0), screens=1)
    arguments = _arguments(tmp_path, budget=None, max_loss=2.0, effort=effort)
    with pytest.raises(ModelError, match="has no head for this classification"):
        tune(**arguments)
    arguments["model"] = tiny_bert(tmp_path / "trained", labels=2)
    looks = dict[str, int]()
    lost = {16.0: 1.0, 14.0: 0.0}  # of the trial at a budget; others lose more
    budgets, finalists = list[float](), Search.finalists
    monkeypatch.setattr(Search, "finalists", lambda self, b, n: budgets.append(b) or finalists(self, b, n))
    monkeypatch.setattr(
        tuning_module, "lost_points", lambda *_: Estimate(lost.get(budgets[-1], 3.0), 0.0, 0.0)
    )
    asked, answers = list[int](), tuning_module.dense_answers
    monkeypatch.setattr(
        tuning_module, "dense_answers", lambda *given: asked.append(len(given[2])) or answers(*given)
    )
    found = tune(**arguments, progress=lambda *told: looks.update({told[0]: max(told[1] - told[2], 0)}))
    assert looks["looking at schedules"] == 0, "of several budgets each counts its own"
    assert len(asked) == 1, "before any trial, and for all of them"
    trial = json.loads((tmp_path / "out" / "tuning" / "search.json").read_text("utf-8"))["results"][
        "trial-16x"
    ]
    assert 16.0 <= trial["ratio"] < 20
    assert found.schedule.to_dict() == knobs_of(trial["knobs"]).schedule(found.schedule.name).to_dict()
    assert 15.0 < found.tuned.ratio(32) < 20, "test rows are of other lengths than those it was chosen by"
    assert len(budgets) <= 4
    lost.clear()
    with pytest.raises(InputError, match="every trial lost more than 2 points"):
        tune(**{**arguments, "output": tmp_path / "never"})

    def none(*_: Any) -> Any:
        raise NoScheduleError

    monkeypatch.setattr(Search, "finalists", none)
    with pytest.raises(NoScheduleError, match="no budget that was tried can be kept"):
        tune(**{**arguments, "output": tmp_path / "short"})


def test_an_old_or_foreign_schedule_gets_a_clear_message() -> None:
    config = sharp_bert().config
    assert own_schedule(config) == "dense"
    setattr(config, SCHEDULE_KEY, {"tokens": 0.5, "merge": True})
    with pytest.raises(
        ConfigError, match=r"config.json has a spatten_schedule .*unknown entries \['merge'\]"
    ):
        own_schedule(config)
    setattr(config, ORIGIN_KEY, {"spatten": "0.0.7"})
    with pytest.raises(ConfigError, match=r"written by spatten 0\.0\.7"):
        own_schedule(config)
    setattr(config, SCHEDULE_KEY, {"tokens": [1.0, 0.5]})
    with pytest.raises(ConfigError, match="2 ratios and the model 4 layers"):
        own_schedule(config)
    setattr(config, SCHEDULE_KEY, [1, 2])
    with pytest.raises(ConfigError, match="expected a table of fields"):
        own_schedule(config)


# Tasks -------------------------------------------------------------------------------------------------

NOTHING = Examples([], [], [])


def test_a_generation_learns_from_its_steps() -> None:
    """The loss of a pruned window is that of its prompt and every step; gradients go through the cache."""
    task, model = Foretelling(NOTHING, 24), sharp_gpt2(GPT2LMHeadModel)
    features = [{"input_ids": tokens(1, 24, seed=seed)[0].tolist()} for seed in (1, 2)]
    batch = task.collate(features)
    taught = model.transformer.h[0].attn.c_attn.weight
    whole, _ = task.lesson(model, batch, pruned=False)
    (plain,) = torch.autograd.grad(whole, taught)
    with surrogate(model, spatten.Schedule(prune_prefill=False)):
        stepped, _ = task.lesson(model, batch, pruned=True)
        (through_steps,) = torch.autograd.grad(stepped, taught)
    assert float(stepped.detach()) == pytest.approx(float(whole.detach()), rel=2e-3)
    assert float((through_steps - plain).norm() / plain.norm()) < 0.02
    scores = batched_scores(model, task, features, spatten.Schedule()).scores
    exact = device_scores(model, task, features, spatten.Schedule(), "emulator").scores
    np.testing.assert_allclose(scores, exact, rtol=1e-3)
    for schedule in (None, spatten.Schedule(prune_prefill=False, tokens=0.4)):
        steps = batched_scores(model, task, features, schedule).scores.mean()
        assert expected_loss(model, task, features, schedule) == pytest.approx(steps, rel=1e-5)


def test_what_is_told_of_a_window() -> None:
    """Steps and prompt of a window, as one run without a cache has them."""
    task, model = Foretelling(NOTHING, 24), sharp_gpt2(GPT2LMHeadModel)
    ids = tokens(2, 24)
    with torch.inference_mode():
        logits = model(input_ids=ids).logits[:, :-1].double()
        answers = task.answers(model, {"input_ids": ids})
    nats = -logits.log_softmax(dim=-1).gather(-1, ids[:, 1:, None])[..., 0].numpy()
    right = (logits.argmax(dim=-1) == ids[:, 1:]).numpy()
    np.testing.assert_allclose(task.scores(answers, []), nats[:, 11:].mean(axis=1), rtol=1e-4)
    told = task.asides(answers)
    np.testing.assert_allclose(told["perplexity of prompts"], nats[:, :11].mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(told["next-token accuracy of steps"], right[:, 11:].mean(axis=1))
    np.testing.assert_allclose(told["next-token accuracy of prompts"], right[:, :11].mean(axis=1))


def test_a_teacher_holds_what_labels_would_change(tmp_path: Path) -> None:
    """All labels say one thing; a model that follows its own answers alone keeps them."""
    rows = [
        {"text": f"whale {word}", "label": label} for word, label in zip(WORDS[:8], "ab" * 4, strict=True)
    ]
    task = KINDS["classification"](Examples(rows, [], []), 24)
    folder, moved = tiny_bert(tmp_path / "bert", labels=2), dict[float, float]()
    features = [{**f, "labels": 0} for f in task.features(AutoTokenizer.from_pretrained(folder), rows)]
    for share in (0.0, 1.0):
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        teacher, recipe = deepcopy(model).eval(), Recipe(3.0, 4, 1e-3, distillation=share)
        train(model, task, features, recipe, tmp_path / str(share), "t", teacher=teacher)
        with torch.inference_mode():
            after, before = (task.answers(known, task.collate(features)) for known in (model, teacher))
        moved[share] = float(np.abs(after - before).mean())
    assert moved[1.0] < 0.2 * moved[0.0]


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_is_as_the_config_has_it_or_none(
    dropout: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Classifying(Examples([{"text": "", "label": label} for label in "ab"], [], []), 24)
    model = sharp_bert(BertForSequenceClassification)
    parts = [part for part in model.modules() if isinstance(part, torch.nn.Dropout)]
    seen, lesson = list[float](), Classifying.lesson

    def watched(self: Any, asked: Any, batch: Any, **given: Any) -> Any:
        seen.extend(part.p for part in asked.modules() if isinstance(part, torch.nn.Dropout))
        return lesson(self, asked, batch, **given)

    monkeypatch.setattr(Classifying, "lesson", watched)
    features = [{"input_ids": tokens(1, 9, seed=seed)[0].tolist(), "labels": seed % 2} for seed in range(4)]
    before = [part.p for part in parts]
    assert max(before) > 0
    train(model, task, features, Recipe(1.0, 4, 1e-3, dropout=dropout), tmp_path, "t")
    assert seen == (before if dropout else [0.0] * len(parts))
    assert [part.p for part in parts] == before


@pytest.mark.parametrize("name", sorted(KINDS))
def test_answers_are_no_distance_from_themselves_and_padding_is_none(name: str) -> None:
    kind, random_ = KINDS[name], torch.Generator().manual_seed(1)
    shape = {"classification": (4, 3), "regression": (4, 1), "retrieval": (4, 8), "qa": (4, 2, 6)}
    ours, theirs = (torch.randn(shape.get(name, (4, 6, 9)), generator=random_) for _ in range(2))
    mask = torch.ones(4, 6)
    mask[:, 4:] = 0
    task = kind.__new__(kind)
    assert float(task.distance(ours, ours, {"attention_mask": mask})) == pytest.approx(0.0, abs=1e-6)
    far = float(task.distance(ours, theirs, {"attention_mask": mask}))
    assert far > 0.1
    if name == "qa":
        theirs[..., 4:] += 100.0
        assert float(task.distance(ours, theirs, {"attention_mask": mask})) == pytest.approx(far)


def test_schedules_are_as_far_off_as_they_are_coarse() -> None:
    """Labels count for nothing; rows of all lengths are padded together and count alike."""
    task = Classifying(Examples([{"text": "", "label": label} for label in "ab"], [], []), 24)
    model = sharp_bert(BertForSequenceClassification)
    features = [
        {"input_ids": tokens(1, 5 + seed % 19, seed=seed)[0].tolist(), "labels": 0} for seed in range(40)
    ]
    fine, coarse, pruned = (
        spatten.Schedule(quantization=FORMATS[bits], tokens=share)
        for bits, share in (("12", 1.0), ("4", 1.0), ("12", 0.3))
    )

    def distance(rows: list[Feature], schedule: spatten.Schedule) -> float:
        return expected_distance(model, task, rows, dense_answers(model, task, rows), schedule)

    far = {schedule: distance(features, schedule) for schedule in (fine, coarse, pruned)}
    assert 0 < far[fine] < 0.1 * min(far[coarse], far[pruned])
    other = [{**feature, "labels": 1 - feature["labels"]} for feature in features]
    assert distance(other, coarse) == pytest.approx(far[coarse])
    assert np.mean([distance([feature], coarse) for feature in features]) == pytest.approx(
        far[coarse], rel=1e-3
    )


def test_a_generation_is_as_far_off_as_its_steps() -> None:
    """Nothing is pruned in prompts, whose tokens would outnumber those that are."""
    task, model = Foretelling(NOTHING, 24), sharp_gpt2(GPT2LMHeadModel)
    features = [{"input_ids": tokens(1, 24, seed=seed)[0].tolist()} for seed in (1, 2)]
    schedule = spatten.Schedule(prune_prefill=False, tokens=0.4)
    ids = task.collate(features)["input_ids"]
    with torch.inference_mode():
        wanted = task._logits(model, ids, steps=False)[:, -12:]
        with surrogate(model, schedule):
            found = task._logits(model, ids, steps=True)[:, -12:]
    ours, theirs = (part.div(SOFTNESS).log_softmax(dim=-1) for part in (found, wanted))
    by_hand = SOFTNESS**2 * (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
    theirs_of = dense_answers(model, task, features)
    measured = expected_distance(model, task, features, theirs_of, schedule)
    assert measured == pytest.approx(float(by_hand), rel=1e-4)
    assert by_hand > 1e-3


@pytest.mark.parametrize(
    ("task", "examples", "share"), [("qa", 1600, 0.5), ("retrieval", 800, 0.5), ("lm", 160, 0.0)]
)
def test_an_effort_suits_its_task_unless_told(task: str, examples: int, share: float) -> None:
    own = Effort().for_task(task)
    assert (own.examples, own.tuned.distillation) == (examples, share)
    told = own.given(examples=7, report=0, distillation=0.25)
    assert (told.examples, told.report, told.look, told.tuned.distillation) == (7, None, own.look, 0.25)


@pytest.mark.parametrize("task", sorted(KINDS))
def test_the_command_and_python_do_the_same_by_default(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[Effort]()

    def tuned(*_: Any, effort: Effort, **__: Any) -> None:
        seen.append(effort)
        raise InputError("seen")

    monkeypatch.setattr("spatten.tune.tune", tuned)
    words = ["tune", "minilm", "--data", "x.csv", "--task", task, "--budget", "10x", "--output"]
    CliRunner().invoke(app, [*words, str(tmp_path / "out")])
    assert seen == [Effort().for_task(task)]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float, tmp_path: Path) -> None:
    effort = replace(EFFORT, tuned=replace(RECIPE, distillation=share))
    with pytest.raises(InputError, match="expected a share from 0 to 1"):
        tune(**_arguments(tmp_path, effort=effort))


def test_what_is_pruned_follows_the_dense_model_and_only_that_one_has_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control with dropout would be a weaker one, and flatter what is compared with it."""
    seen, train = dict[str, tuple[bool, bool]](), tuning_module.train

    def watched(*given: Any, **named: Any) -> None:
        recipe, name = given[3], given[5]
        seen[name] = (named["teacher"] is not None, recipe.dropout)
        train(*given, **named)

    monkeypatch.setattr(tuning_module, "train", watched)
    dense, tuned = recipes(1.0, 1.0, 16, 1e-3)
    tune(**_arguments(tmp_path, effort=replace(EFFORT, dense=dense, tuned=tuned, trials=2, control=True)))
    taught = dict.fromkeys(("trial-0", "trial-1", "tuned"), (True, False))
    assert seen == {"dense": (False, True), "control": (False, False), **taught}


@pytest.mark.parametrize(
    ("rows", "change", "first", "then"),
    [
        (20, {}, range(20), range(20, 40)),
        (30, {}, range(30), [*range(30, 40), *range(20)]),
        (None, {}, range(40), range(40)),
        (20, {"fresh": False}, range(20), range(20)),
        (20, {"dense": replace(RECIPE, epochs=0.0)}, range(20), range(20)),
    ],
)
def test_what_is_tuned_learns_from_rows_that_the_dense_model_has_not(
    rows: int | None, change: dict[str, Any], first: Iterable[int], then: Iterable[int]
) -> None:
    """Those that nothing has learned from come first; a model that comes trained has seen others."""
    every: list[Feature] = [{"input_ids": [number]} for number in range(40)]
    effort = replace(EFFORT, examples=rows, **change)
    found = tuning_module._lessons(every, effort)
    assert [[feature["input_ids"][0] for feature in part] for part in found] == [list(first), list(then)]


def test_the_control_learns_from_the_rows_of_what_it_is_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, train = dict[str, list[Feature]](), tuning_module.train

    def watched(*given: Any, **named: Any) -> None:
        seen[given[5]] = given[2]
        train(*given, **named)

    monkeypatch.setattr(tuning_module, "train", watched)
    tune(**_arguments(tmp_path, effort=replace(EFFORT, trials=2, control=True, examples=16)))
    assert seen["tuned"] == seen["control"] == seen["trial-0"] == seen["trial-1"]
    assert not any(feature in seen["dense"] for feature in seen["tuned"])


def test_retrieval_finds_a_text_that_is_its_own_match() -> None:
    task, model = Retrieving(NOTHING, 24), sharp_bert()
    own = [tokens(1, 10 + seed, seed=seed)[0].tolist() for seed in range(4)]
    features = [{"input_ids": ids, "match_ids": ids} for ids in own]
    assert batched_scores(model, task, features).scores.tolist() == [1.0] * 4
    assert device_scores(model, task, features, "dense", "emulator").scores.tolist() == [1.0] * 4
    crossed = [{"input_ids": a, "match_ids": b} for a, b in zip(own, reversed(own), strict=True)]
    assert batched_scores(model, task, crossed).scores.tolist() == [0.0] * 4
    assert expected_loss(model, task, features, None) < expected_loss(model, task, crossed, None)


def test_answers_are_spans_of_the_context(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    task = Answering(NOTHING, 24)
    row = {"question": "the ship", "context": "one whale rose near the dark coast", "answer": "dark coast"}
    (feature,) = task.features(tokenizer, [row])
    span = feature["input_ids"][feature["start_positions"] : feature["end_positions"] + 1]
    assert tokenizer.decode(span) == "dark coast"
    logits = np.zeros((1, 24, 2))
    logits[0, feature["start_positions"], 0] = logits[0, feature["end_positions"], 1] = 5.0
    assert task.scores(logits, [feature]).tolist() == [1.0]
    logits[0, feature["start_positions"] - 1, 0] = 9.0
    assert task.scores(logits, [feature]).tolist() == [pytest.approx(0.8)]
    with pytest.raises(InputError, match="does not stand in its context"):
        task.features(tokenizer, [{**row, "answer": "elephant"}])
    long = {**row, "question": "the ship " * 20}
    assert task.features(tokenizer, [long, row, {**row, "context": "the " * 40 + row["context"]}]) == [
        feature
    ]
    model = BertForQuestionAnswering.from_pretrained(tmp_path)
    assert float(task.criterion(model, task.collate([feature]), pruned=False).detach()) > 0
    assert batched_scores(model.eval(), task, [feature]).scores.shape == (1,)


def test_a_trained_head_keeps_the_order_of_its_labels() -> None:
    rows = [{"label": label} for label in ("no", "yes")]
    task = KINDS["classification"](Examples(rows, [], []), 24)
    assert task.labels == ["no", "yes"]
    task.follow(BertConfig(label2id={"LABEL_0": 0, "LABEL_1": 1}))
    assert task.labels == ["no", "yes"]
    task.follow(
        BertConfig(label2id={"yes": 0, "perhaps": 1, "no": 2}, id2label={0: "yes", 1: "perhaps", 2: "no"})
    )
    assert [task.label(row) for row in rows] == [2, 0]
    assert task.config()["num_labels"] == 3
    numbers = KINDS["classification"](Examples([{"label": n} for n in range(11)], [], []), 24)
    assert [numbers.label({"label": n}) for n in range(11)] == list(range(11))
    with pytest.raises(InputError, match=r"the label 'ten'; the training rows have '0', .*'9', \.\.\."):
        numbers.label({"label": "ten"})


def test_regression_scores_the_variance_left_unexplained() -> None:
    task = Regressing(NOTHING, 24)
    features = [{"input_ids": [2], "labels": label} for label in (1.0, 2.0, 3.0)]
    assert task.scores(np.full((3, 1), 2.0), features).mean() == pytest.approx(1.0)
    assert task.scores(np.array([[1.0], [2.0], [3.0]]), features).tolist() == [0.0] * 3
    lost = lost_points(task.metric, np.array([0.2, 0.4, 0.3]), np.array([0.1, 0.3, 0.2]))
    assert lost.value == pytest.approx(10.0)
    for wrong in ("good", "nan", float("inf")):
        with pytest.raises(InputError, match="expects a number"):
            task.label({"label": wrong})
    same = [{"label": 1.0}] * 3
    with pytest.raises(InputError, match=r"all test rows have the label 1\.0"):
        Regressing(Examples(same, [{"label": 1}, {"label": 2}], same), 24)


# Data --------------------------------------------------------------------------------------------------


def test_a_table_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    with path.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["body", "label", "split"])
        table.writerows([f"text {i}", i % 2, part] for i, part in enumerate(["train", "dev", "test"] * 2))
    found = read_examples(str(path), "classification", {"text": "body"})
    assert sorted(row["text"] for row in found.train) == ["text 0", "text 3"]
    assert sorted(row["text"] for row in found.development) == ["text 1", "text 4"]
    assert sorted(row["label"] for row in found.test) == ["0", "1"]


def test_rows_of_a_part_are_mixed_for_files_are_sorted_by_label(tmp_path: Path) -> None:
    """Their first rows alone would be of one label; those of lm are one text in order."""
    path = tmp_path / "data.jsonl"
    rows = [
        {"text": f"text {i}", "label": i // 20, "split": part}
        for part in ("train", "dev", "test")
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = read_examples(str(path), "classification")
    assert (
        {row["label"] for row in found.train[:10]}
        == {row["label"] for row in found.development[:10]}
        == {0, 1}
    )
    assert [row["text"] for row in read_examples(str(path), "lm").train] == [f"text {i}" for i in range(40)]


def test_a_table_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """With a byte order mark, and a text longer than the csv module's own bound."""
    path = tmp_path / "DATA.CSV"
    lines = [f"{'long ' * 40_000 * (i == 0)}text {i},{i % 2}" for i in range(20)]
    path.write_text("\n".join(["\ufefftext,label", *lines]), "utf-8")
    found = read_examples(str(path), "classification")
    assert max(len(row["text"]) for row in (*found.train, *found.development, *found.test)) > 200_000


def test_a_repeated_row_stands_in_one_part(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    rows = [{"text": f"text {i % 25}", "label": i % 25 % 2} for i in range(100)]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = read_examples(str(path), "classification")
    texts = [row["text"] for row in (*found.train, *found.development, *found.test)]
    assert len(texts) == len(set(texts)) == 25


def test_parts_without_a_split_are_disjoint_and_seeded(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"text {i}", "label": i % 2}) for i in range(50)), "utf-8")
    first, again, other = (read_examples(str(path), "classification", seed=seed) for seed in (0, 0, 1))
    parts = [{row["text"] for row in part} for part in (first.train, first.development, first.test)]
    assert [len(part) for part in parts] == [35, 5, 10]
    assert len(set.union(*parts)) == 50
    assert first == again != other


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data.txt", "", r"expected a \.csv or \.jsonl file, or one of"),
        ("data.jsonl", '{"text": "a"}', "row 1 has no 'label', which classification needs"),
        ("data.jsonl", "[1]", "row 1 is"),
        ("data.jsonl", "{", "not valid jsonl"),
        ("data.jsonl", '{"text": "a", "label": 1}', "expected 2 or more"),
        ("data.jsonl", '{"text": "a", "label": 1, "split": "x"}', "split 'x'; expected train, dev or test"),
        ("data.jsonl", '{"text": "a", "label": 1}\n{"text": ', "not valid jsonl in UTF-8 behind row 1"),
        ("data.jsonl", '{"text": "a", "label": [1]}', "row 1 has in 'label' a list"),
        ("data.csv", "text,label\nyes, it is,1", "row 1 has 1 cells more than the header"),
        ("data.csv", 'text,label\na,1\n"b,1', "not valid csv in UTF-8 behind row 1: unexpected end of data"),
        ("data.csv", "", "0 rows of train; expected 2 or more"),
    ],
    ids=["kind", "column", "list", "json", "few", "split", "line", "cell", "commas", "quote", "empty"],
)
def test_what_is_wrong_with_a_file_is_said(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(InputError, match=message):
        read_examples(str(tmp_path / name), "classification")


def test_a_missing_file_and_a_task_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_examples(str(tmp_path / "none.csv"), "lm")
    with pytest.raises(InputError, match="'spam' is for classification; the task is lm"):
        read_examples("spam", "lm")


def test_columns_that_nothing_needs_are_refused(tmp_path: Path) -> None:
    """A slip of the pen would take another column, or parts by chance, without a word."""
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a", "label": 1}', "utf-8")
    with pytest.raises(InputError, match=r"columns are given for \['lable'\]"):
        read_examples(str(path), "classification", {"lable": "kind"})
    with pytest.raises(InputError, match="row 1 has no 'fold', which classification needs as 'split'"):
        read_examples(str(path), "classification", {"split": "fold"})
    with pytest.raises(InputError, match="'spam' is no file"):
        read_examples("spam", "classification", {"text": "body"})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task": "fly"}, InputError, "task is 'fly'"),
        ({"rule": "luck"}, InputError, "rule is 'luck'"),
        ({"max_loss": 1.0}, InputError, "budget is 9 and max_loss is 1; expected one of them"),
        ({"budget": None}, InputError, "neither budget nor max_loss is given"),
        ({"budget": None, "max_loss": -1.0}, InputError, "points of 0 or more"),
        ({"budget": 0.5}, InputError, "a factor of 1 or more"),
        ({"effort": replace(EFFORT, trial_epochs=-1.0)}, InputError, "trial epochs is -1.0"),
        ({"effort": replace(EFFORT, tuned=replace(RECIPE, rate=0.0))}, InputError, "rate is 0.0"),
        ({"effort": replace(EFFORT, report=1)}, InputError, "rows of development and test is 1; expected 2"),
        ({"max_tokens": 100}, InputError, "takes 64"),
        ({"model": "bert-base-random"}, ModelError, "has random weights, from which nothing is tuned"),
        ({"task": "lm", "columns": {"text": "review"}}, ModelError, "needs a GPT-2"),
    ],
    ids=[
        "task",
        "rule",
        "both",
        "none",
        "loss",
        "budget",
        "epochs",
        "rate",
        "rows",
        "length",
        "random",
        "family",
    ],
)
def test_what_cannot_be_tuned_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tune(**_arguments(tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "task", "rows", "size", "more"),
    [("retrieval", "retrieval", 300, 300, 1500), ("perplexity-moby-dick", "lm", 32, 32, 0)],
)
def test_a_shipped_task_chooses_by_rows_that_it_neither_learns_from_nor_reports(
    name: str, task: str, rows: int, size: int, more: int
) -> None:
    """As many as the study reports, which is more than it sets aside; its test examples stay, more follow."""
    parts = read_examples(name, task, {}, seed=1)
    train, aside, test = ([str(row) for row in part] for part in (parts.train, parts.development, parts.test))
    assert (len(aside), len(test)) == (rows, size + more)
    assert len({*train, *aside, *test}) == len(train) + len(aside) + len(test)
    study = STUDIES[name]
    ours = [tuple(row.get("ids", row.values())) for row in parts.test[:size]]
    assert ours == [tuple(example) for example in study.examples(Sample(size, 1))]
