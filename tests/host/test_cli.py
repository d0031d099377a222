# SPDX-License-Identifier: BSD-2-Clause
"""Every command, its JSON, its exit codes and its words, on models built here; no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spatten.cli import app, console
from spatten.cli.show import REFETCHED
from spatten_drivers.errors import DeviceError
from tests.host.tiny_models import tiny_bert, tiny_gpt2

LINK_EMOJI = "\N{LINK SYMBOL}"  # what rich makes of the middle of litex:link://
TEXT = "the whale rose from a dark sea and one ship sank near its coast"


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("classifier"), labels=3)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_gpt2(tmp_path_factory.mktemp("gpt2"))


def spatten(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def json_of(*arguments: str | Path) -> Any:
    result = spatten(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


COMMANDS = (
    ["run"],
    ["bench", "emulator"],
    ["devices"],
    ["doctor"],
    ["trace"],
    ["plan"],
    ["eval"],
    ["replay"],
    ["bitstreams"],
    ["load"],
    ["selftest"],
    ["tune"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_examples(command: list[str]) -> None:
    result = spatten(*command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert f"spatten {command[0]}" in result.stdout
    assert LINK_EMOJI not in result.stdout


def test_a_uri_is_printed_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    uri = "litex:link://192.168.1.50?csr=csr.json"
    console.say(uri)
    console.report_error(DeviceError(uri))
    console.out().print(uri, soft_wrap=True)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{uri}\n", f"{uri}\nerror: {uri}\n")


def test_version_and_unknown_command() -> None:
    assert spatten("--version").stdout.startswith("spatten ")
    assert spatten("fly").exit_code == 2


def test_devices_lists_emulator_and_presets() -> None:
    found = json_of("devices")
    assert {"name": "emulator", "available": True, "reason": "available"} in found["devices"]
    assert [preset["name"] for preset in found["presets"] if preset["default"]] == ["ecp5-85f"]
    assert "emulator" in spatten("devices").stdout


def test_doctor_answers_every_check() -> None:
    result = spatten("doctor", "--device", "emulator", "--json")
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert {"python", "numpy", "torch", "threads", "kernels", "device", "cache", "minilm"} <= set(checks)
    assert checks["kernels"]["state"] in ("ok", "warn")
    assert result.exit_code == int(any(check["state"] == "fail" for check in checks.values()))


def test_doctor_fails_on_a_device_that_does_not_open() -> None:
    result = spatten("doctor", "--device", "nowhere")
    assert result.exit_code == 1
    assert "fail" in result.stdout


def test_embedding_is_a_unit_vector(bert: str) -> None:
    done = json_of("run", TEXT, "--model", bert, "--device", "emulator")
    vector = done["texts"][0]["embedding"]
    assert done["task"] == "embedding"
    assert sum(value * value for value in vector) == pytest.approx(1.0, abs=1e-4)
    assert done["traffic"]["dense_bytes_32"] == 2 * done["traffic"]["dense_bytes_16"]


def test_pruned_run_reads_less_and_says_where(bert: str) -> None:
    arguments = ("run", TEXT, "--model", bert, "--device", "emulator", "--schedule")
    dense, pruned = json_of(*arguments, "dense"), json_of(*arguments, "paper-bert")
    assert pruned["traffic"]["kv_bytes"] < dense["traffic"]["kv_bytes"]
    shares = [layer["tokens_share"] for layer in pruned["layers"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 1.0
    assert {layer["tokens_share"] for layer in dense["layers"]} == {1.0}


def test_same_run_twice_gives_the_same_bits(bert: str) -> None:
    arguments = ("run", TEXT, "--model", bert, "--device", "emulator", "--schedule", "paper-bert")
    assert json_of(*arguments)["answers_digest"] == json_of(*arguments)["answers_digest"]


def test_similarity_of_a_text_with_itself_is_one(bert: str) -> None:
    done = json_of(
        "run", TEXT, TEXT, "the ship", "--model", bert, "--task", "similarity", "--device", "emulator"
    )
    matrix = done["similarity"]
    assert matrix[0][1] == pytest.approx(1.0, abs=1e-3)
    assert matrix[0][2] == matrix[2][0] < 0.9999


def test_classification_gives_probabilities(classifier: str) -> None:
    done = json_of("run", TEXT, "--model", classifier, "--device", "emulator")
    scores = done["texts"][0]["scores"]
    assert done["task"] == "classification"
    assert sum(scores.values()) == pytest.approx(1.0, abs=1e-4)
    assert done["texts"][0]["label"] == max(scores, key=scores.__getitem__)


def test_generation_is_as_long_as_asked_and_repeats_with_its_seed(gpt2: str) -> None:
    arguments = (
        "run",
        "the dark sea",
        "--model",
        gpt2,
        "--device",
        "emulator",
        "--max-new-tokens",
        "6",
        "--sample",
    )
    first, again, other = json_of(*arguments), json_of(*arguments), json_of(*arguments, "--seed", "1")
    assert first["texts"][0]["new_tokens"] == 6
    assert first["texts"][0]["generated"] == again["texts"][0]["generated"] != other["texts"][0]["generated"]


def test_paragraphs_of_a_file_are_texts(bert: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("the whale\nrose\n\n\nthe ship sank\n", encoding="utf-8")
    done = json_of("run", "--file", file, "--model", bert, "--device", "emulator")
    assert [text["text"] for text in done["texts"]] == ["the whale rose", "the ship sank"]


def test_tables_name_both_baselines(bert: str) -> None:
    result = spatten("run", TEXT, "--model", bert, "--device", "emulator")
    assert result.exit_code == 0
    assert "16" in result.stdout
    assert "32 bit" in result.stdout


def test_truncate_cuts_a_long_text(bert: str) -> None:
    long = " ".join(["whale"] * 100)
    refused = spatten("run", long, "--model", bert, "--device", "emulator")
    assert refused.exit_code == 1
    assert "102 tokens" in refused.stderr
    assert "--truncate" in refused.stderr
    assert (
        json_of("run", long, "--model", bert, "--device", "emulator", "--truncate")["texts"][0]["tokens"]
        == 64
    )


BAD = {
    "no text": (["run"], 1, "no text was given"),
    "blank text": (["run", "  "], 1, "text 1 is '  '"),
    "missing file": (["run", "--file", "no-such-file"], 1, "cannot be read"),
    "unknown model": (["run", "a", "--model", "no/such-model"], 1, "model 'no/such-model' cannot be loaded"),
    "unknown schedule": (["run", "a", "--schedule", "none"], 1, "schedule is 'none'"),
    "missing schedule file": (["run", "a", "--schedule", "no.toml"], 1, "cannot be read"),
    "unknown device": (["run", "a", "--device", "nowhere"], 3, "no device is known by 'nowhere'"),
    "unknown preset": (["run", "a", "--device", "emulator?preset=x"], 3, "preset is 'x'"),
    "no board": (["run", "a", "--require-board"], 3, "a board is required"),
    "unknown kernel": (["run", "a", "--kernel", "abacus"], 1, "kernel is 'abacus'"),
    "unknown task": (["run", "a", "--task", "dance"], 1, "task is 'dance'"),
    "report folder missing": (["run", "a", "--report", "no/such/folder.html"], 1, "does not exist"),
    "report is a folder": (["run", "a", "--report", "."], 1, "is a folder"),
    "demo with text": (["run", "a", "--demo"], 2, "--demo"),
    "no tokens wanted": (["run", "a", "--max-new-tokens", "0"], 2, "max-new-tokens"),
    "unknown case": (["bench", "emulator", "--cases", "x"], 1, "benchmark case is 'x'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_without_a_traceback(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    arguments, code, message = BAD[name]
    result = spatten(*arguments)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_binary_file_is_refused(tmp_path: Path) -> None:
    for content, said in (
        (b"\xff\xfe\x00", "byte 0 is 0xff"),
        (b"ab\0c", "byte 2 is zero"),
        (b" \n\n ", "no words"),
    ):
        file = tmp_path / "file.bin"
        file.write_bytes(content)
        result = spatten("run", "--file", file)
        assert result.exit_code == 1
        assert said in result.stderr


def test_task_that_the_model_cannot_do(bert: str, gpt2: str) -> None:
    for model, task in ((bert, "generation"), (bert, "classification"), (gpt2, "embedding")):
        result = spatten("run", "a", "--model", model, "--task", task, "--device", "emulator")
        assert result.exit_code == 1
        assert f"cannot do {task}" in result.stderr


def test_debug_lets_the_error_through() -> None:
    result = spatten("--debug", "run", " ")
    assert type(result.exception).__name__ == "InputError"


def test_interrupt_exits_130_and_leaves_nothing(
    bert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spatten.atomic.os.replace", interrupted)
    report = tmp_path / "report.html"
    result = spatten("run", TEXT, "--model", bert, "--device", "emulator", "--report", report)
    assert result.exit_code == 130
    assert list(tmp_path.iterdir()) == []


def test_report_tells_what_ran(bert: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = spatten(
        "run", TEXT, "--model", bert, "--device", "emulator", "--schedule", "paper-bert", "--report", report
    )
    assert result.exit_code == 0
    page = report.read_text(encoding="utf-8")
    assert "whale" in page
    assert "paper-bert" in page
    assert "emulator" in page


def test_demo_covers_both_models(
    bert: str, gpt2: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "prompt": "the dark sea",
        "questions": ["one ship"],
        "passages": [{"label": "Whale", "text": TEXT}, {"label": "Coast", "text": "the coast"}],
    }
    monkeypatch.setattr("spatten.demo.demo_texts", lambda: texts)
    monkeypatch.setattr("spatten.demo.MODELS", (bert, gpt2))
    report = tmp_path / "demo.html"
    result = spatten(
        "run", "--demo", "--device", "emulator", "--max-new-tokens", "4", "--report", report, "--json"
    )
    assert result.exit_code == 0, result.stderr
    done = json.loads(result.stdout)
    assert [run["schedule"] for half in ("search", "writing") for run in done[half]["runs"]] == [
        "dense",
        "paper-bert",
        "dense",
        "paper-gpt2",
    ]
    assert done["search"]["answers"][0]["dense"] in ("Whale", "Coast")
    page = report.read_text(encoding="utf-8")
    assert "BERT reads" in page
    assert "GPT-2 writes" in page


def test_texts_that_ship_with_the_demo_are_whole() -> None:
    from spatten.demo import demo_texts

    texts = demo_texts()
    assert len(texts["passages"]) == 6
    assert all(len(passage["text"].split()) > 40 for passage in texts["passages"])
    assert "  " not in texts["prompt"]


def test_texts_from_standard_input(bert: str) -> None:
    arguments = ["run", "--model", bert, "--device", "emulator", "--file", "-", "--json"]
    result = CliRunner().invoke(app, arguments, input=f"{TEXT}\n\nand one\nship\n")
    assert result.exit_code == 0, result.stderr
    assert [text["text"] for text in json.loads(result.stdout)["texts"]] == [TEXT, "and one ship"]


def test_what_refetched_counts_is_said_where_rows_refetch(gpt2: str) -> None:
    run = ("run", "--model", gpt2, "--device", "emulator", "--max-new-tokens", "3", TEXT, "--schedule")
    assert REFETCHED in spatten(*run, "keys-gpt2").stdout
    assert REFETCHED not in spatten(*run, "dense").stdout


def test_eval_of_dense_is_close_to_eager(bert: str, classifier: str, gpt2: str) -> None:
    arguments = ("--schedule", "dense", "--device", "emulator", TEXT)
    assert json_of("eval", "--model", bert, *arguments)["measures"]["worst cosine to eager"] > 0.999
    assert json_of("eval", "--model", classifier, *arguments)["measures"]["same label as eager"] == 1.0
    assert json_of("eval", "--model", gpt2, *arguments)["measures"]["ratio"] == pytest.approx(1.0, abs=0.01)


def test_eval_of_a_pruned_schedule_differs_and_reads_less(bert: str) -> None:
    dense, pruned = (
        json_of("eval", "--model", bert, "--schedule", schedule, "--device", "emulator", TEXT)
        for schedule in ("dense", "paper-bert")
    )
    assert pruned["measures"]["worst cosine to eager"] < dense["measures"]["worst cosine to eager"]
    assert pruned["traffic"]["ratio_16"] > 1.1 * dense["traffic"]["ratio_16"] > 1.1
