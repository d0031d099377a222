# SPDX-License-Identifier: BSD-2-Clause
"""The study itself on a tiny model: cached, resumed, and named by everything a result depends on."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spatten.catalog import load
from spatten.quality import study
from spatten.quality.__main__ import named
from spatten.quality.rows import FLOAT, KEYS, ROWS, Row, schedule_of
from spatten.quality.study import Plan, cell_digest, code_version, run_study
from spatten.quality.subject import Subject
from spatten.quality.tasks import TASKS, Retrieval
from spatten_drivers import Quantization
from spatten_drivers.errors import ConfigError
from tests.host.tiny_models import WORDS, tiny_bert, tiny_gpt2


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny BERT."""
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def task_on(model: str) -> Retrieval:
    """Retrieval over a few made-up passages of four words."""
    draws = np.random.default_rng(0)
    text = " ".join(draws.choice(WORDS, 64))
    return Retrieval("made-up", "Made up", "own", lambda: [[text]], size=6, words=4, model=model)


def test_digest_is_stable_and_sees_every_change(tmp_path: Path) -> None:
    task, plan = task_on("tiny"), Plan([], [], tmp_path)
    row = Row("8 bit", "bits", bits=8)
    base = cell_digest(plan, task, row, "emulator")
    assert base == cell_digest(
        Plan([], [], tmp_path / "elsewhere"), task_on("tiny"), replace(row), "emulator"
    )
    others = {
        cell_digest(replace(plan, seed=1), task, row, "emulator"),
        cell_digest(replace(plan, scale=2.0), task, row, "emulator"),
        cell_digest(replace(plan, development=True), task, row, "emulator"),
        cell_digest(plan, task_on("other"), row, "emulator"),
        cell_digest(plan, task, replace(row, bits=6), "emulator"),
        cell_digest(plan, task, replace(row, threshold=0.2), "emulator"),
        cell_digest(plan, task, row, "a board"),
    }
    assert len(others | {base}) == 8


def test_digest_sees_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, plan, row = task_on("tiny"), Plan([], [], tmp_path), ROWS[1]
    before = cell_digest(plan, task, row, "emulator")
    code_version.cache_clear()
    monkeypatch.setattr(study, "MEASURING", study.MEASURING[1:])
    after = cell_digest(plan, task, row, "emulator")
    code_version.cache_clear()
    assert before != after


def test_float_baseline_always_comes_first(tmp_path: Path) -> None:
    plan = Plan([], [ROWS[2], FLOAT], tmp_path)
    assert plan.all_rows() == [FLOAT, ROWS[2]]


def test_row_names_are_unique_and_their_files_too() -> None:
    assert len({row.name for row in ROWS}) == len({study._file_name(row) for row in ROWS}) == len(ROWS)


def test_study_resumes_from_what_is_there(bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan([task_on(bert)], [], tmp_path / "cache")
    told: list[tuple[str, str, int, int]] = []
    (first,) = run_study(plan, lambda *step: told.append(step))
    assert len(first.scores) == 6
    assert told[-1] == ("made-up", "float", 12, 12)
    (kept,) = plan.cache.iterdir()
    assert json.loads(kept.read_text())["scores"] == first.scores
    monkeypatch.setattr(study, "load", lambda name: pytest.fail("a finished study loads no model"))
    assert list(run_study(plan)) == [first]


def test_float_embedding_is_the_mean_of_the_tokens(bert: str) -> None:
    loaded = load(bert, "embedding")
    found = Subject(loaded).encode([WORDS[1], " ".join(WORDS)])
    states = loaded.model(**loaded.tokenizer(WORDS[1], return_tensors="pt")).last_hidden_state[0]
    mean = states.mean(dim=0).detach().numpy()
    assert found[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0])


def test_stepwise_log_probs_are_those_of_one_pass(tmp_path: Path) -> None:
    loaded = load(tiny_gpt2(tmp_path), "generation")
    tokens = [number % loaded.model.config.vocab_size for number in range(3, 35)]
    steps = Subject(loaded).log_probs(tokens, 20)
    assert steps == pytest.approx(whole_pass(loaded.model, tokens)[19:], abs=1e-5)


def whole_pass(model: object, tokens: Sequence[int]) -> np.ndarray:
    """Log-probability of every token but the first, from one forward pass."""
    import torch

    with torch.inference_mode():
        chances = model(input_ids=torch.tensor([list(tokens)])).logits[0].double().log_softmax(dim=-1)
    return np.array([float(chances[here, token]) for here, token in enumerate(tokens[1:])])


def test_what_only_steps_feel_is_measured_in_generations_alone(tmp_path: Path) -> None:
    rows = [Row("keys", "together", **KEYS), Row("recent", "tokens", recent=32), Row("8 bit", "bits", bits=8)]
    plan = Plan(TASKS, rows, tmp_path)
    for task in TASKS:
        names = [row.name for row in plan.rows_of(task)]
        assert names == (["float", "keys", "recent", "8 bit"] if task.generates else ["float", "8 bit"])


def test_rows_become_schedules() -> None:
    assert schedule_of(FLOAT, 6) is None
    plain = schedule_of(Row("8 bit", "bits", bits=8), 6)
    assert plain is not None
    assert (plain.quantization, set(plain.tokens), plain.values) == (Quantization.static(8), {1.0}, 1.0)
    both = schedule_of(Row("x", "together", bits=(6, 4), tokens=0.5, heads=0.75, values=0.2), 6)
    assert both is not None
    assert both.quantization == Quantization.progressive(6, 4, 0.1)
    assert np.mean(both.tokens[1:]) == pytest.approx(0.5)
    assert np.mean(both.heads[2:]) == pytest.approx(0.75)
    assert (both.values, both.prune_prefill) == (0.2, False)
    lean = schedule_of(Row("x", "together", bits=6, v_bits=4, recent=96, decay=0.5), 6)
    assert lean is not None
    assert (lean.quantization.k_bits, lean.quantization.v_bits) == (6, 4)
    assert (lean.protect_last, lean.decay) == (96, 0.5)
    keys = schedule_of(Row("x", "together", value_share=0.003, **KEYS), 6)
    assert keys is not None
    assert keys.quantization == Quantization.by_key(4, 4, 1 / 64, 4, growth="saturate")
    assert keys.value_share == 0.003


def test_names_with_commas_are_chosen_behind_semicolons() -> None:
    wanted = "6 bit; 6 bit, tokens -50%, lean"
    assert [row.name for row in named("row", ROWS, wanted)] == ["6 bit", "6 bit, tokens -50%, lean"]
    assert [row.name for row in named("row", ROWS, "paper,6 bit")] == ["6 bit", "paper"]
    with pytest.raises(ConfigError, match="row is 'lean'"):
        named("row", ROWS, "6 bit; lean")


def test_every_row_is_legal() -> None:
    for row in ROWS[1:]:
        assert schedule_of(row, 6).name == row.name
    with pytest.raises(ConfigError, match="average keep ratio is 0"):
        schedule_of(Row("x", "tokens", tokens=0.0), 6)
