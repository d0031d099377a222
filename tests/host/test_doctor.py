# SPDX-License-Identifier: BSD-2-Clause
"""Every check of the doctor in health and in sickness, with its advice."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from spatten import doctor
from spatten.doctor import FAIL, OK, WARN, Check
from spatten.errors import ModelError
from spatten_drivers import Emulator
from spatten_drivers.answer import JobAnswer
from spatten_drivers.model.kernels import available_kernels

PACKAGES = ["numpy", "torch", "transformers", "tokenizers", "safetensors", "jinja2"]


def test_checks_come_in_the_order_in_which_things_are_needed(device_uri: str) -> None:
    names = [check.name for check in doctor.examine(device_uri)]
    rest = ["threads", "kernels", "device", "simulator", "cache", "minilm", "gpt2-prose"]
    assert names == ["python", *PACKAGES, *rest]


def test_what_is_not_well_has_advice_and_what_is_well_has_none(device_uri: str) -> None:
    for check in doctor.examine(device_uri):
        assert bool(check.advice) == (check.state != OK)


# ------------------------------------------------------------------------------- packages


def packages(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], requires: Any) -> dict[str, Check]:
    """Checks in an environment of these versions, for a distribution that requires this."""

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    def required(_: str) -> list[str]:
        if requires is metadata.PackageNotFoundError:
            raise requires
        return requires

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", required)
    return {check.name: check for check in doctor.check_packages()}


def test_missing_package_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages(monkeypatch, dict.fromkeys(PACKAGES[:-1], "1.0"), None)
    assert found["jinja2"] == Check("jinja2", FAIL, "not installed", "pip install 'spatten[hf]'")
    assert found["numpy"] == Check("numpy", OK, "1.0")


def test_version_beside_the_exact_pin_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ["numpy>=1.26", "torch==2.13.0; extra == 'hf'", "transformers==5.23.0; extra == 'hf'"]
    versions = dict.fromkeys(PACKAGES, "9.9") | {"torch": "2.13.0+cpu", "transformers": "5.22.0"}
    found = packages(monkeypatch, versions, requires)
    assert found["numpy"].state == OK
    assert found["torch"] == Check("torch", OK, "2.13.0+cpu")
    assert found["transformers"] == Check(
        "transformers", WARN, "5.22.0; checked at 5.23.0", "pip install transformers==5.23.0"
    )


@pytest.mark.parametrize("requires", [None, metadata.PackageNotFoundError])
def test_source_tree_that_is_not_installed_has_no_pins(
    requires: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = packages(monkeypatch, dict.fromkeys(PACKAGES, "0.1"), requires)
    assert {check.state for check in found.values()} == {OK}


def test_pins_are_those_of_this_distribution() -> None:
    assert {"torch", "transformers"} <= set(doctor._pins())


# ------------------------------------------------------------------------------- threads and kernels


@pytest.mark.parametrize(
    ("omp", "blas", "state"), [("1", "1", OK), ("1", None, WARN), ("2", "1", WARN), (None, None, WARN)]
)
def test_one_thread_a_blas_is_well(
    omp: str | None, blas: str | None, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OMP_NUM_THREADS", omp), ("OPENBLAS_NUM_THREADS", blas)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    found = doctor.check_threads()
    assert found.state == state
    assert found.advice == ("" if state == OK else "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1")


def test_kernels_of_this_machine_agree() -> None:
    assert doctor.check_kernels().state == (OK if len(available_kernels()) > 1 else WARN)


def test_kernel_that_answers_other_bits_fails_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = doctor._small_job

    def job(kernel: str) -> JobAnswer:
        answer = right("numpy")
        return answer if kernel == "numpy" else replace(answer, output=answer.output + 1)

    monkeypatch.setattr(doctor, "_small_job", job)
    monkeypatch.setattr(doctor, "available_kernels", lambda: ["numpy", "wrong"])
    found = doctor.check_kernels()
    assert found.state == FAIL
    assert found.finding.startswith("wrong differs from numpy in ")
    assert "output" in found.finding
    assert found.advice == "reinstall numba; report it"


def test_one_kernel_alone_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_kernels", lambda: ["numpy"])
    expected = Check("kernels", WARN, "numpy only: right, but slower", "pip install 'spatten[numba]'")
    assert doctor.check_kernels() == expected


# ------------------------------------------------------------------------------- device, cache, models


def test_device_that_would_be_taken_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with Emulator() as emulator:
        assert doctor.check_device("emulator") == Check("device", OK, str(emulator))

    def opened(uri: str, announce: Any) -> Emulator:
        announce(f"{uri} took the emulator: no board found")
        return Emulator()

    monkeypatch.setattr(doctor, "open_device", opened)
    assert doctor.check_device("auto") == Check("device", OK, "auto took the emulator: no board found")


def test_device_that_does_not_open_fails_with_its_own_words() -> None:
    found = doctor.check_device("abacus")
    assert (found.state, found.advice) == (FAIL, "see: spatten devices")
    assert found.finding.startswith(
        "no device is known by 'abacus'; expected auto or one of pynq, litex, verilator, "
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("available", Check("simulator", OK, "verilator can be opened")),
        (
            "no C++ compiler: apt-get install g++",
            Check("simulator", WARN, "no device verilator: no C++ compiler", "apt-get install g++"),
        ),
    ],
)
def test_the_simulator_is_asked_whether_it_can_be_built(
    monkeypatch: pytest.MonkeyPatch, state: str, expected: Check
) -> None:
    monkeypatch.setattr(doctor, "known_devices", lambda: [("verilator", state), ("emulator", "available")])
    assert doctor.check_simulator() == expected


def test_cache_is_made_and_left_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATTEN_CACHE", str(tmp_path / "a" / "cache"))
    assert doctor.check_cache() == Check("cache", OK, str(tmp_path / "a" / "cache"))
    assert list((tmp_path / "a" / "cache").iterdir()) == []


def test_cache_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPATTEN_CACHE", str(tmp_path / "file" / "cache"))
    found = doctor.check_cache()
    assert found == Check(
        "cache",
        FAIL,
        f"{tmp_path / 'file' / 'cache'}: Not a directory",
        "set SPATTEN_CACHE to a folder that you can write",
    )


def test_model_that_is_missing_is_a_warning_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from spatten import catalog

    def missing() -> str:
        raise ModelError("model 'x' needs a package, which is not installed; run: pip install x")

    monkeypatch.setattr(catalog, "FOLDERS", {"x": missing, "y": lambda: "/models/y"})
    assert doctor.check_models() == [
        Check("x", WARN, "not here", "run: pip install x"),
        Check("y", OK, "/models/y"),
    ]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_models_need_torch_and_transformers(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    expected = Check("models", FAIL, "torch or transformers is missing", "pip install 'spatten[hf]'")
    assert doctor.check_models() == [expected]
