# SPDX-License-Identifier: BSD-2-Clause
"""Training of a tiny GPT-2 on made-up sentences: what is learned, written, resumed and refused."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel, GPT2Tokenizer
from typer.testing import CliRunner

from spatten.errors import InputError, ModelError
from spatten.quality.data import held_out, split
from spatten.training import checkpoint, corpus, recipe
from spatten.training import export as exporting
from spatten.training.batches import Batches, token_stream
from spatten.training.card import card
from spatten.training.evaluate import Measured, measure, spans
from spatten.training.export import export, halved
from spatten.training.model import gpt2_config, new_model
from spatten.training.optimizer import Optimizers
from spatten.training.plan import Plan
from spatten.training.tokenizer import train_tokenizer
from spatten.training.train import Run, Status, train

SUBJECTS = ("the whale", "a dark ship", "one old sailor", "the cold wind")
VERBS = ("rose from", "sank near", "looked at", "left")
PLACES = ("the coast", "a quiet sea", "the far island")
DOCUMENTS = [f"{' '.join(words)}." for words in itertools.product(SUBJECTS, VERBS, PLACES)]
VOCABULARY, POSITIONS = 300, 64
SCRIPT = Path(__file__).parents[2] / "scripts" / "train_gpt2.py"


@pytest.fixture(scope="module")
def tokenizer() -> GPT2Tokenizer:
    return train_tokenizer(DOCUMENTS, VOCABULARY, POSITIONS)


def tiny_model() -> GPT2LMHeadModel:
    return new_model(gpt2_config(VOCABULARY, width=64, layers=1, positions=POSITIONS), seed=0)


@pytest.fixture
def run(tokenizer: GPT2Tokenizer) -> Run:
    return new_run(tokenizer)


def new_run(tokenizer: GPT2Tokenizer, steps: int = 8) -> Run:
    stream = token_stream(tokenizer, DOCUMENTS)
    plan = Plan(steps=steps, tokens=256, short=16, long=POSITIONS)
    return Run(tiny_model(), Batches(stream, POSITIONS), plan)


# ------------------------------------------------------------------------------------------------- the loop


def test_loss_falls(tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    seen: list[Status] = []
    train(new_run(tokenizer, steps=40), tmp_path, seen.append)
    assert [status.step for status in seen] == list(range(1, 41))
    assert seen[-1].loss < 0.5 * seen[0].loss


def test_a_resumed_run_ends_as_an_unbroken_one(tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    whole, first, second = (new_run(tokenizer) for _ in range(3))
    train(whole, tmp_path / "whole", lambda status: None)
    train(first, tmp_path / "parts", lambda status: None, stop_at=3)
    second.load(tmp_path / "parts")
    assert (second.step, second.tokens) == (3, 3 * 256)
    train(second, tmp_path / "parts", lambda status: None)
    expected, actual = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(actual[name], weight) for name, weight in expected.items())


def test_time_ends_a_run(tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    run = new_run(tokenizer)
    run.plan = Plan(minutes=1e-4, tokens=256, short=16, long=POSITIONS)
    train(run, tmp_path, lambda status: None)
    assert run.seconds >= 60e-4
    assert (tmp_path / checkpoint.NAME).is_file()


def test_every_parameter_has_one_optimizer() -> None:
    model = tiny_model()
    muon, adam = Optimizers(model)._all
    by_muon, by_adam = ([p for g in o.param_groups for p in g["params"]] for o in (muon, adam))
    assert {id(p) for p in by_muon} | {id(p) for p in by_adam} == {id(p) for p in model.parameters()}
    assert len(by_muon) + len(by_adam) == len(list(model.parameters()))
    assert {tuple(p.shape) for p in by_muon} == {(64, 192), (64, 64), (64, 256), (256, 64)}


# ------------------------------------------------------------------------------------------------- checkpoint


def test_an_interrupted_checkpoint_leaves_the_former_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(tmp_path)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def interrupted(state: Any, stream: Any) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]
    assert (tmp_path / checkpoint.NAME).read_bytes() == before


def test_a_missing_or_damaged_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint"):
        run.load(tmp_path)
    (tmp_path / checkpoint.NAME).write_bytes(b"half")
    with pytest.raises(ModelError, match="cannot be read"):
        run.load(tmp_path)


# ------------------------------------------------------------------------------------------------- tokenizer


def test_the_tokenizer_depends_on_the_texts_alone(tokenizer: GPT2Tokenizer) -> None:
    again = train_tokenizer(DOCUMENTS, VOCABULARY, POSITIONS)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert len(again) == VOCABULARY
    assert again.bos_token_id == again.eos_token_id == 0


@given(st.text())
def test_any_text_comes_back(tokenizer: GPT2Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text, verbose=False)["input_ids"]) == text


# ------------------------------------------------------------------------------------------------- batches


def test_an_epoch_shows_every_window_once() -> None:
    batches = Batches(torch.arange(16 * 4 + 1), POSITIONS)
    first, second = (
        torch.cat([batches.at(seen, 4, 4)[0][:, 0] for seen in range(start, start + 64, 16)])
        for start in (0, 64)
    )
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(0, 64, 4))
    assert not torch.equal(first, second)


def test_short_windows_stand_at_all_places_of_the_context() -> None:
    batches = Batches(torch.arange(1000), POSITIONS)
    places = torch.cat([batches.at(seen, 4, 16)[1] for seen in range(0, 64 * 20, 64)])
    assert set(places[:, 0].tolist()) == {0, 16, 32, 48}
    assert torch.equal(places - places[:, :1], torch.arange(16).expand_as(places))


def test_a_short_text_is_refused() -> None:
    with pytest.raises(InputError, match="expected more than 16"):
        Batches(torch.arange(16), POSITIONS).at(0, 1, 16)


def test_documents_are_separated(tokenizer: GPT2Tokenizer) -> None:
    stream = token_stream(tokenizer, DOCUMENTS)
    assert stream[0] == 0
    assert (stream == 0).sum() == len(DOCUMENTS)


# ------------------------------------------------------------------------------------------------- plan


def test_the_rate_rises_and_falls_to_nothing() -> None:
    plan = Plan(warm_up=0.1)
    assert plan.rate(0.05) == pytest.approx(0.5)
    assert plan.rate(0.1) == pytest.approx(1)
    assert plan.rate(0.55) == pytest.approx(0.5)
    assert 0 < plan.rate(1.0) < 0.01


def test_the_end_is_trained_on_long_windows() -> None:
    assert [Plan().length(share) for share in (0, 0.74, 0.75, 1)] == [256, 256, 1024, 1024]


@pytest.mark.parametrize("wrong", [{"tokens": 1000}, {"steps": 0}, {"minutes": 0}])
def test_an_impossible_plan_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        Plan(**wrong)


def test_what_is_held_out_is_not_learned() -> None:
    documents = [str(number) for number in range(25)]
    assert split(documents)[0] == documents[:23]
    assert held_out(documents) == "23\n\n24"
    with pytest.raises(InputError, match="9 documents"):
        split(documents[:9])


# ------------------------------------------------------------------------------------------------- measuring


@given(length=st.integers(2, 300), window=st.integers(2, 64))
def test_every_token_is_scored_once_with_half_a_window_before_it(length: int, window: int) -> None:
    scored = []
    for start, end, fresh in spans(length, window):
        assert end - start <= window
        assert fresh < end - start
        assert start == 0 or end - fresh - start >= window // 2
        scored += range(end - fresh, end)
    assert scored == list(range(1, length))


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary(tokenizer: GPT2Tokenizer) -> None:
    model = tiny_model().eval()
    torch.nn.init.zeros_(model.transformer.wte.weight)
    found = measure(model, tokenizer, " ".join(DOCUMENTS), window=32)
    assert found.perplexity == pytest.approx(VOCABULARY, rel=1e-4)
    assert found.tokens == len(tokenizer(" ".join(DOCUMENTS), verbose=False)["input_ids"])


def test_windows_do_not_change_a_text_that_fits(tokenizer: GPT2Tokenizer) -> None:
    model, text = tiny_model().eval(), DOCUMENTS[0]
    ids = torch.tensor([[0, *tokenizer(text)["input_ids"]]])
    expected = model(ids, labels=ids).loss.exp().item()
    assert measure(model, tokenizer, text).perplexity == pytest.approx(expected, rel=1e-5)


def test_nothing_cannot_be_measured(tokenizer: GPT2Tokenizer) -> None:
    with pytest.raises(InputError, match="0 characters"):
        measure(tiny_model(), tokenizer, "")


# ------------------------------------------------------------------------------------------------- export


def test_what_is_exported_is_what_is_loaded(run: Run, tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    export(run.model, tokenizer, {"README.md": "a card"}, tmp_path / "made")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "made")
    reloaded = AutoTokenizer.from_pretrained(tmp_path / "made")
    ids = torch.tensor([tokenizer(DOCUMENTS[0])["input_ids"]])
    assert loaded.dtype is torch.float32
    assert torch.equal(loaded(ids).logits, halved(run.model)(ids).logits)
    assert torch.allclose(loaded(ids).logits, run.model.eval()(ids).logits, atol=1e-2)
    assert reloaded(DOCUMENTS[0])["input_ids"] == ids[0].tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_failed_export_leaves_the_former_folder(
    run: Run, tokenizer: GPT2Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run.model, tokenizer, {"README.md": "former"}, tmp_path / "made")
    monkeypatch.setattr(exporting, "LIMIT", 1000)
    with pytest.raises(ModelError, match="at most 1000"):
        export(run.model, tokenizer, {"README.md": "new"}, tmp_path / "made")
    assert (tmp_path / "made" / "README.md").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_an_export_replaces_the_former_folder(run: Run, tokenizer: GPT2Tokenizer, tmp_path: Path) -> None:
    for text in ("former", "new"):
        export(run.model, tokenizer, {"README.md": text, text: text}, tmp_path / "made")
    assert (tmp_path / "made" / "README.md").read_text() == "new"
    assert not (tmp_path / "made" / "former").exists()


def test_weights_beyond_float16_are_refused(run: Run) -> None:
    torch.nn.init.constant_(run.model.transformer.ln_f.weight, 1e6)
    with pytest.raises(ModelError, match=r"ln_f\.weight"):
        halved(run.model)


def test_the_card_says_what_was_measured() -> None:
    found = {"a text": Measured(perplexity=41.256, bits_per_byte=1.2345, tokens=12345)}
    trained = {"step": 10, "tokens": 40960, "seconds": 120.0, "stream": 20480}
    text = card(tiny_model(), found, found, trained)
    assert "| a text | 12,345 | 41.26 | 1.234 | 41.26 |" in text
    assert "10 steps of 4,096 tokens in 2 minutes: 40,960 tokens, 2.0 times" in text


# ------------------------------------------------------------------------------------------------- command


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_gpt2", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_has_examples(script: ModuleType) -> None:
    result = CliRunner().invoke(script.app, ["--help"])
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert "--resume" in result.stdout


def test_from_training_to_numbers(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "VOCABULARY", VOCABULARY)
    monkeypatch.setattr(corpus, "SOURCES", {"a text": lambda: DOCUMENTS * 5})
    folders = ["--work", str(tmp_path), "--model", str(tmp_path / "made")]
    results = []
    for options in (
        ["--steps", "1"],
        ["--steps", "2", "--resume"],
        ["--export", "--json"],
        ["--evaluate", "--json"],
    ):
        result = CliRunner().invoke(script.app, [*folders, *options])
        assert result.exit_code == 0, result.output
        results.append(result.stdout)
    exported, measured = (json.loads(result)["a text"] for result in results[2:])
    assert measured == pytest.approx(exported)  # by SDPA and by eager attention
    assert measured["perplexity"] < VOCABULARY
