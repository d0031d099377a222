# SPDX-License-Identifier: BSD-2-Clause
"""What is said where PYNQ cannot be used."""

import importlib.util
from typing import Any

import pytest

from spatten_drivers import Emulator, open_device
from spatten_drivers.errors import DeviceError
from spatten_drivers.pynq_bridge import attach, attached, detach, environment

ADVICE = "give it an environment of its own: pip install 'spatten[pynq]' there, or make test-pynq in the tree"
NO_PACKAGE = f"package pynq is not installed; {ADVICE}"


@pytest.fixture
def no_pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def broken_pynq(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, and NumPy is old enough, but importing it fails."""

    def fails(name: str) -> Any:
        raise ImportError("No module named 'pkg_resources'")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("numpy.__version__", "1.26.4")
    monkeypatch.setattr(importlib, "import_module", fails)


@pytest.mark.usefixtures("no_pynq")
@pytest.mark.parametrize("call", [attach, detach, lambda _: attached()])
def test_pynq_is_not_installed(call: Any) -> None:
    with pytest.raises(DeviceError) as error:
        call(Emulator(memory_bytes=1 << 16))
    assert str(error.value) == NO_PACKAGE


@pytest.mark.usefixtures("no_pynq")
def test_a_zynq_board_without_pynq() -> None:
    with pytest.raises(DeviceError) as error:
        open_device("pynq:spatten.bit")
    assert str(error.value) == NO_PACKAGE


def test_numpy_is_too_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr("numpy.__version__", "2.4.6")
    with pytest.raises(DeviceError) as error:
        environment.import_pynq()
    assert str(error.value) == (f"package pynq needs NumPy below 2, and this environment has 2.4.6; {ADVICE}")


@pytest.mark.usefixtures("broken_pynq")
def test_pynq_does_not_import() -> None:
    with pytest.raises(DeviceError) as error:
        environment.import_pynq()
    assert str(error.value) == (f"package pynq cannot be imported: No module named 'pkg_resources'; {ADVICE}")
