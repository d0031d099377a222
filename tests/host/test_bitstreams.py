# SPDX-License-Identifier: BSD-2-Clause
"""`spatten bitstreams`: listed, verified, built again and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spatten.cli import app
from spatten.shelf import ENVIRONMENT, chosen, default_folder, shelf
from spatten_drivers.errors import BitstreamError
from tests.drivers.bitstream_folder import FILES, change, write_folder

#: A package that builds what the test wants, as ``python3 -m stand_in``.
BUILDER = """
import pathlib, sys
output = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
assert not output.exists()
output.mkdir()
print("building with seed", sys.argv[sys.argv.index("--seed") + 1])
for path in pathlib.Path({source!r}).iterdir():
    (output / path.name).write_bytes(path.read_bytes())
{more}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two boards."""
    folder = tmp_path / "bitstreams"
    write_folder(folder / "colorlight_i5")
    write_folder(folder / "ecpix5", board="ecpix5")
    return folder


@pytest.fixture(autouse=True)
def _tools_see_where_tests_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spatten.shelf.HIDDEN", tmp_path / "hidden")


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["bitstreams", *map(str, arguments)], env={"COLUMNS": "200"})


def test_table(place: Path) -> None:
    result = command("--folder", place)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("colorlight_i5")]
    assert line.split() == [
        *("colorlight_i5", "LFE5U-25F-6BG381C", "ecp5-25f", "good", "60", "18.8%", "62%"),
        str(len(FILES["spatten.bit"])),
    ]


def test_a_damaged_one_has_exit_code_1_and_is_named(place: Path) -> None:
    (place / "ecpix5" / "csr.json").write_bytes(b"[]\n")
    (place / "colorlight_i5" / "manifest.json").write_text("{", "utf-8")
    result = command("--folder", place)
    assert result.exit_code == 1
    assert "damaged ecpix5: csr.json has SHA-256" in result.stdout
    assert "damaged colorlight_i5" in result.stdout


def test_json(place: Path) -> None:
    change(place / "ecpix5", abi="3.0")
    result = command("--folder", place, "--json")
    assert result.exit_code == 1
    found = {one["name"]: one for one in json.loads(result.stdout)["bitstreams"]}
    assert found["colorlight_i5"]["verdict"] == "good"
    assert found["colorlight_i5"]["manifest"]["clock_hz"] == 60_000_000
    unknown, other = found["ecpix5"]["problems"]
    assert unknown.endswith("config: abi is '3.0'; this release speaks 1.0 and 1.1")
    assert other == "abi is 3.0, but that of csr.json is 1.1"


def test_an_empty_folder_says_how_to_build_one(tmp_path: Path) -> None:
    result = command("--folder", tmp_path)
    assert result.exit_code == 0
    assert "There is no bitstream in" in result.stdout
    assert "make bitstream BOARD=ecpix5" in result.stdout
    assert json.loads(command("--folder", tmp_path, "--json").stdout)["bitstreams"] == []


@pytest.mark.parametrize("name", ["spatten.bit", "csr.json"])
def test_a_board_without_a_manifest_is_told(place: Path, name: str) -> None:
    (place / "ulx3s").mkdir()
    (place / "ulx3s" / name).write_bytes(b"")
    (place / "no board").mkdir()
    result = command("--folder", place)
    assert result.exit_code == 1
    assert f"damaged ulx3s: has {name}, but no manifest.json to verify it by" in result.stdout
    assert [one.name for one in shelf(place)] == ["colorlight_i5", "ecpix5", "ulx3s"]


def test_a_folder_of_another_board(place: Path) -> None:
    (place / "ecpix5").rename(place / "orangecrab")
    result = command("--folder", place)
    assert result.exit_code == 1
    said = "the folder is orangecrab, but the board of its manifest is ecpix5"
    assert f"damaged orangecrab: {said}" in result.stdout
    with pytest.raises(BitstreamError, match=said):
        chosen(place, "orangecrab")


@pytest.mark.parametrize("name", ["nosuch", "file", "bitstreams/ecpix5"])
def test_what_is_no_folder_of_boards(tmp_path: Path, place: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    expected = {
        "nosuch": "nosuch does not exist; expected one with a folder a board",
        "file": "file is no folder; expected one with a folder a board",
        "bitstreams/ecpix5": f"is the folder of one board; expected that around it: --folder {place}",
    }
    for arguments in ((), ("--json",), ("--rebuild", "ecpix5")):
        result = command("--folder", tmp_path / name, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert expected[name] in result.stderr.replace("\n", "")


def test_what_to_build_from_needs_what_to_build(place: Path) -> None:
    result = command("--folder", place, "--this-tree")
    assert result.exit_code == 2
    assert "--rebuild BOARD" in result.stderr


def test_the_folder_is_that_of_the_tree_or_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert default_folder() == Path(__file__).parents[2] / "bitstreams"
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    assert default_folder() == tmp_path


def test_one_by_name(place: Path) -> None:
    assert chosen(place, "colorlight-i5").board == "colorlight_i5"
    with pytest.raises(BitstreamError, match=r"no bitstream of 'versa' .* there is colorlight_i5, ecpix5"):
        chosen(place, "versa")
    (place / "ecpix5" / "config.yml").unlink()
    with pytest.raises(BitstreamError, match=r"config.yml cannot be read"):
        chosen(place, "ecpix5")
    assert [one.name for one in shelf(place) if one.problems] == ["ecpix5"]


# Building again -----------------------------------------------------------------------------------


@pytest.fixture
def builds(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a builder in place of the board's target: it copies the shipped files, and then ``more``."""
    modules, source = tmp_path / "modules", tmp_path / "source"
    modules.mkdir()
    write_folder(source)
    monkeypatch.setenv("PYTHONPATH", str(modules))
    change(place / "colorlight_i5", rebuild="python3 -m stand_in --build --seed 7")

    def builds(more: str = "") -> tuple[Result, Path]:
        (modules / "stand_in.py").write_text(BUILDER.format(source=str(source), more=more), "utf-8")
        work = tmp_path / "work"
        return command("--folder", place, "--rebuild", "colorlight-i5", "--work", work, "--this-tree"), work

    return builds


def test_the_same_bytes(builds: Any) -> None:
    result, work = builds()
    assert result.exit_code == 0, result.output
    assert "equal: spatten.bit, spatten.svf.gz, csr.json, config.yml have the same bytes" in result.stdout
    assert list(work.iterdir()) == []


def test_other_bytes_are_named_and_kept(builds: Any) -> None:
    result, work = builds(
        "bit = output / 'spatten.bit'; bit.write_bytes(bit.read_bytes()[:40] + b'x')\n"
        "(output / 'csr.json').unlink()"
    )
    assert result.exit_code == 1
    length = len(FILES["spatten.bit"])
    assert f"spatten.bit differs from byte 40 on ({length} bytes shipped, 41 built)" in result.stdout
    assert "csr.json was not built" in result.stdout
    assert "of commit 012345678901 with yosys 0.69" in result.stderr
    (kept,) = work.glob("rebuild-colorlight_i5-*/output/spatten.bit")
    assert len(kept.read_bytes()) == 41


def test_other_tools_are_told_before_the_build(builds: Any, place: Path) -> None:
    change(place / "colorlight_i5", tools={"migen": version("migen"), "numpy": "0.1"})
    result, _ = builds()
    assert result.exit_code == 0
    warning = f"warning: numpy 0.1 built it, {version('numpy')} is here, so bytes may differ\nbuilding"
    assert result.stderr.startswith(warning)


def test_nothing_is_built_where_the_tools_do_not_see_it(
    builds: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spatten.shelf.HIDDEN", tmp_path)
    result, work = builds()
    assert result.exit_code == 1
    assert f"nothing can be built below {tmp_path}: nextpnr and ecppack run as" in result.stderr
    assert not work.exists()


def test_a_build_that_fails_shows_its_last_words(builds: Any) -> None:
    result, work = builds("sys.exit('error: clock sys misses its timing')")
    assert result.exit_code == 1
    assert "ended with 1" in result.stderr
    assert "clock sys misses its timing" in result.stderr
    (log,) = work.glob("rebuild-*/build.log")
    assert "building with seed 7" in log.read_text("utf-8")
    assert sys.executable in result.stderr


@pytest.fixture
def repository(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources with a commit that builds the bitstream, and a later one that does not."""
    root, source = tmp_path / "repository", tmp_path / "source"
    write_folder(source)
    (root / "fpga").mkdir(parents=True)

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        call = ["git", "-C", str(root), *identity, *words]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    commits = []
    for more in ("", "raise SystemExit('not this one')"):
        (root / "fpga" / "stand_in.py").write_text(BUILDER.format(source=str(source), more=more), "utf-8")
        git("add", ".")
        git("commit", "--quiet", "-m", "as it builds")
        commits.append(git("rev-parse", "HEAD"))
    monkeypatch.setattr("spatten.shelf.ROOT", root)
    change(place / "colorlight_i5", rebuild="python3 -m stand_in --build --seed 7", source_commit=commits[0])
    return root


def test_the_sources_are_those_of_its_commit(place: Path, tmp_path: Path, repository: Path) -> None:
    asked = ["--folder", place, "--rebuild", "colorlight-i5", "--work", tmp_path / "work"]
    result = command(*asked)
    assert result.exit_code == 0, result.output
    assert "have the same bytes" in result.stdout
    now = command(*asked, "--this-tree")
    assert now.exit_code == 1
    assert "not this one" in now.stderr


def test_a_commit_that_is_not_there_is_named(place: Path, tmp_path: Path, repository: Path) -> None:
    change(place / "colorlight_i5", source_commit="f" * 40)
    result = command("--folder", place, "--rebuild", "colorlight-i5", "--work", tmp_path / "work")
    assert result.exit_code == 1
    assert "commit ffffffffffff" in result.stderr
    assert "--this-tree" in result.stderr
