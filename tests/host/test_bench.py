# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark measures what it says: on a tiny model, and by the names and fields that its users read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from spatten import bench
from spatten.cli import app
from spatten_drivers.errors import ConfigError
from spatten_drivers.model.kernels import available_kernels


def tiny_gpt2() -> GPT2LMHeadModel:
    shape = GPT2Config(n_layer=2, n_embd=64, n_head=2, vocab_size=bench.VOCABULARY, n_positions=128)
    return GPT2LMHeadModel(shape)


TINY = (
    bench.Case("tiny-prefill", tiny_gpt2, 40),
    bench.Case("tiny-decode", tiny_gpt2, 40, decode=True),
    bench.Case("tiny-decode-pruned", tiny_gpt2, 40, "paper-gpt2", decode=True),
)


def test_dense_cases_agree_with_eager_and_pruned_ones_do_not() -> None:
    prefill, decode, pruned = bench.run_cases(TINY, repeats=1)
    assert 0 < prefill.difference < 0.01
    assert 0 < decode.difference < 0.01
    assert pruned.difference > decode.difference


def test_result_has_the_promised_fields() -> None:
    (result,) = bench.results_json(bench.run_cases(TINY[:1], repeats=2))["cases"]
    assert {"name", "eager_ms", "numpy_ms", "numba_ms", "numpy_ratio", "numba_ratio"} <= set(result)
    assert result["numpy_ratio"] == pytest.approx(result["numpy_ms"] / result["eager_ms"], rel=0.01)
    assert ("numba" in available_kernels()) == (result["numba_ms"] is not None)


def test_one_thread_while_measuring_and_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with bench.single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_cases_by_name_prefix_and_group() -> None:
    default = [case.name for case in bench.chosen_cases(["default"])]
    assert default[:5] == [
        "minilm-128",
        "minilm-512",
        "gpt2-6x384-prefill-512",
        "gpt2-6x384-prefill-1023",
        "gpt2-6x384-decode-256+32",
    ]
    assert default[5:] == [f"{name}-pruned" for name in default[:5]]
    assert [case.name for case in bench.chosen_cases(["minilm-1*"])] == ["minilm-128", "minilm-128-pruned"]
    extra = {"bert-base-128", "gpt2-small-prefill-512"}
    assert {case.name for case in bench.chosen_cases(["all"])} == {*default, *extra}
    with pytest.raises(ConfigError, match="benchmark case is 'x'"):
        bench.chosen_cases(["x"])


def test_command_prints_json_alone_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DEFAULT_CASES", TINY[:1])
    result = CliRunner().invoke(app, ["bench", "emulator", "--repeat", "1", "--json"])
    assert result.exit_code == 0, result.stderr
    assert [case["name"] for case in json.loads(result.stdout)["cases"]] == ["tiny-prefill"]


def test_page_has_a_row_for_each_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "DEFAULT_CASES", TINY[:1])
    page = tmp_path / "page.md"
    arguments = ["bench", "emulator", "--cases", "tiny-prefill", "--repeat", "1", "--page", str(page)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    (row,) = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| tiny-")]
    assert row.startswith("| tiny-prefill | dense | ")
    assert row.count("x |") == 2


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "emulator", "--page", str(tmp_path / "none" / "page.md")])
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
