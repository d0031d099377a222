# SPDX-License-Identifier: BSD-2-Clause
"""What ``open_device`` opens, what it says, and what it refuses."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from spatten_drivers import PRESETS, Emulator, known_devices, open_device
from spatten_drivers.devices import verilator
from spatten_drivers.devices.discovery import KINDS
from spatten_drivers.errors import ConfigError, DeviceError

HINT = (
    "expected auto or one of pynq, litex, verilator, emulator, "
    "with options behind a question mark: emulator?preset=ecp5-25f"
)
NO_BOARD = (
    "SPATTEN_BOARD is not set; set it to your board, such as litex:udp://192.168.1.50?csr=build/csr.json"
)
REASONS = f"pynq: package pynq is not installed; litex: {NO_BOARD}"


@pytest.fixture(autouse=True)
def no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has neither PYNQ nor a LiteX board, whatever it has."""
    monkeypatch.delenv("SPATTEN_BOARD", raising=False)
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: None)


def test_auto_announces_one_line_with_the_reasons() -> None:
    lines: list[str] = []
    device = open_device(announce=lines.append)
    assert isinstance(device, Emulator)
    assert lines == [f"using {device}: bit-exact software model, no board found ({REASONS})"]


def test_auto_warns_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "spatten_drivers")  # the command line of other tests makes it quieter
    open_device("auto")
    assert [(r.levelname, r.getMessage().partition(":")[0]) for r in caplog.records] == [
        ("WARNING", f"using {Emulator(memory_bytes=1 << 16)}")
    ]


def test_a_named_device_is_not_announced(caplog: pytest.LogCaptureFixture) -> None:
    open_device("emulator", announce=pytest.fail)
    assert not caplog.records


def test_a_board_is_required() -> None:
    with pytest.raises(DeviceError) as error:
        open_device(require_board=True)
    assert str(error.value) == (
        f"a board is required and none was found ({REASONS}). Connect one, or leave --require-board out"
    )
    with pytest.raises(DeviceError) as error:
        open_device("emulator", require_board=True)
    assert str(error.value) == (
        "a board is required, and 'emulator' is not one; name a board or leave --require-board out"
    )


def test_known_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_devices() == [
        ("pynq", "package pynq is not installed"),
        ("litex", NO_BOARD),
        ("verilator", "package spatten_fpga is not installed: pip install 'spatten[fpga]'"),
        ("emulator", "available"),
    ]
    monkeypatch.setenv("SPATTEN_BOARD", "ulx3s")
    monkeypatch.setattr(verilator.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("CXX", "g++")
    monkeypatch.setattr("numpy.__version__", "2.4.6")
    assert known_devices()[0] == ("pynq", "package pynq needs NumPy below 2, and this environment has 2.4.6")
    monkeypatch.setattr("numpy.__version__", "1.26.4")
    assert known_devices()[:3] == [
        ("pynq", "no Zynq bitstream ships with this release"),
        ("litex", f"SPATTEN_BOARD is 'ulx3s'; expected a uri such as {NO_BOARD.split()[-1]}"),
        ("verilator", "available"),
    ]


def test_a_kind_is_what_its_module_opens() -> None:
    """Each module has what the table promises of it."""
    for kind in KINDS:
        module = kind.load()
        assert callable(module.probe)
        assert callable(module.open_uri)
    assert [kind.name for kind in KINDS if kind.is_board] == ["pynq", "litex"]


def test_a_board_that_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened by the uri that its probe gives; one that does not open is told of."""
    board = Emulator(memory_bytes=1 << 16)
    monkeypatch.setattr("spatten_drivers.devices.litex.probe", lambda: "litex://10.0.0.2?port=1")
    seen = []
    monkeypatch.setattr(
        "spatten_drivers.devices.litex.open_uri", lambda parts, kernel: seen.append(parts) or board
    )
    lines: list[str] = []
    assert open_device(announce=lines.append) is board
    assert lines == [f"using {board}"]
    assert [(parts.netloc, parts.query) for parts in seen] == [("10.0.0.2", "port=1")]
    monkeypatch.undo()
    monkeypatch.setattr("spatten_drivers.devices.litex.probe", lambda: "litex://10.0.0.2")
    assert isinstance(open_device(announce=lines.append), Emulator)
    assert "litex: litex:: expected litex: and one of udp://, serial://," in lines[1]


@pytest.mark.parametrize(
    ("absent", "reason"),
    [
        ("litedram", "package litedram is not installed: pip install 'spatten[fpga]'"),
        ("verilator", "no program verilator: apt-get install verilator, or make test"),
        ("ziglang", "no C++ compiler: apt-get install g++, or pip install ziglang"),
    ],
)
def test_what_the_simulator_needs(monkeypatch: pytest.MonkeyPatch, absent: str, reason: str) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(verilator.shutil, "which", lambda name: None)
    monkeypatch.setattr(
        verilator.importlib.util, "find_spec", lambda name: None if name == absent else object()
    )
    assert dict(known_devices())["verilator"] == reason
    with pytest.raises(DeviceError, match="verilator: "):
        open_device("verilator")


def test_options_of_the_emulator() -> None:
    device = open_device("emulator?preset=ecp5-25f&abi=1.0&memory=3MiB&debug=1&kernel=numpy")
    assert device.config == replace(PRESETS["ecp5-25f"], abi_minor=0)
    assert device.memory_bytes == 3 << 20
    assert isinstance(device, Emulator)
    assert (device.kernel, device._guard is not None) == ("numpy", True)
    assert not device.is_board


def test_options_of_the_simulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is built for them, and from which door memory is reached."""
    asked = []

    def opened(folder: Path, door: str) -> Emulator:
        asked.append((folder, door))
        return Emulator(memory_bytes=1 << 16)

    def folder(*what: object, extras: Sequence[str]) -> Path:
        return tmp_path.joinpath(*map(str, what), *extras)

    monkeypatch.setattr(verilator, "built_folder", folder)
    monkeypatch.setattr(verilator, "Verilator", opened)
    open_device("verilator")
    open_device("verilator?preset=ecp5-25f&door=back&memory=4MiB")
    open_device("verilator?with=analyzer")
    assert asked == [
        (tmp_path / "ecp5-85f" / "None", "front"),
        (tmp_path / "ecp5-25f" / str(4 << 20), "back"),
        (tmp_path / "ecp5-85f" / "None" / "analyzer", "front"),
    ]


def test_the_emulator_as_it_is() -> None:
    device = open_device("emulator", kernel="numpy")
    assert device.config == PRESETS["ecp5-85f"]
    assert device.memory_bytes == 1 << 30
    assert isinstance(device, Emulator)
    assert (device.kernel, device._guard) == ("numpy", None)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "fpga",
            f"no device is known by 'fpga'; {HINT}",
        ),
        (
            "",
            f"no device is known by ''; {HINT}",
        ),
        (
            "verilator?preset=paper",
            "preset is 'paper'; expected one of "
            "['ecp5-85f', 'ecp5-85f-slim', 'ecp5-25f', 'ecp5-25f-slim', 'small']",
        ),
        ("verilator?door=side", "door is 'side'; expected one of ['front', 'back']"),
        (
            "verilator?fast=1",
            "the verilator has no option ['fast']; it has ['preset', 'door', 'memory', 'with']",
        ),
        (
            "emulator?preset=big",
            "preset is 'big'; expected one of "
            "['ecp5-85f', 'ecp5-85f-slim', 'ecp5-25f', 'ecp5-25f-slim', 'zynq-7020', 'paper']",
        ),
        (
            "emulator?speed=9&memory=1MiB&fast",
            "the emulator has no option ['fast', 'speed']; it has ['preset', 'abi', 'memory', 'kernel', "
            "'debug']",
        ),
        ("emulator?abi=1.2", "abi is '1.2'; expected one of ['1.0', '1.1']"),
        ("emulator?debug=yes", "debug is 'yes'; expected one of ['0', '1']"),
        ("emulator?memory=4GiB", "memory is '4GiB'; expected a size below 4GiB such as 64MiB or 1GiB"),
        ("emulator?memory=0MiB", "memory is '0MiB'; expected a size below 4GiB such as 64MiB or 1GiB"),
        ("emulator?memory=64", "memory is '64'; expected a size below 4GiB such as 64MiB or 1GiB"),
        ("emulator?memory=-1MiB", "memory is '-1MiB'; expected a size below 4GiB such as 64MiB or 1GiB"),
    ],
)
def test_uris_that_are_refused(uri: str, message: str) -> None:
    with pytest.raises(DeviceError) as error:
        open_device(uri)
    assert str(error.value) == message


def test_kernels_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not when the first job runs."""
    monkeypatch.setattr("spatten_drivers.model.kernels.available_kernels", lambda: ("numpy",))
    with pytest.raises(ConfigError) as error:
        open_device("emulator?kernel=cuda")
    assert str(error.value) == "kernel is 'cuda'; expected 'auto' or one of ('numpy', 'numba')"
    with pytest.raises(ConfigError) as error:
        open_device("emulator", kernel="numba")
    assert str(error.value) == (
        "kernel is 'numba', which is not installed; pip install 'spatten[numba]' or use 'numpy'"
    )


def test_a_device_that_is_no_uri() -> None:
    with pytest.raises(DeviceError) as error:
        open_device(5)
    assert str(error.value) == ("device is 5; expected a uri such as 'auto' or 'emulator', or an open device")
