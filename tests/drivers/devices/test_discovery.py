# SPDX-License-Identifier: BSD-2-Clause
"""What ``open_device`` opens, what it says, and what it refuses."""

import pytest

from spatten_drivers import PRESETS, Emulator, known_devices, open_device
from spatten_drivers.devices import discovery
from spatten_drivers.errors import ConfigError, DeviceError

HINT = (
    "expected auto or emulator[?preset=...]. "
    "Boards and the RTL simulator are not supported by this release yet"
)
REASONS = "pynq: package pynq is not installed; litex: no LiteX link in this release"


@pytest.fixture(autouse=True)
def no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has neither PYNQ nor a LiteX board, whatever it has."""
    monkeypatch.delenv("SPATTEN_BOARD", raising=False)
    monkeypatch.setattr(discovery.importlib.util, "find_spec", lambda name: None)


def test_auto_announces_one_line_with_the_reasons() -> None:
    lines: list[str] = []
    device = open_device(announce=lines.append)
    assert isinstance(device, Emulator)
    assert lines == [f"using {device}: bit-exact software model, no board found ({REASONS})"]


def test_auto_warns_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
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
        ("litex", "no LiteX link in this release"),
        ("emulator", "available"),
    ]
    monkeypatch.setenv("SPATTEN_BOARD", "ulx3s")
    monkeypatch.setattr(discovery.importlib.util, "find_spec", lambda name: object())
    assert known_devices()[:2] == [
        ("pynq", "no Zynq bitstream ships with this release"),
        ("litex", "SPATTEN_BOARD=ulx3s: this release has no LiteX link yet"),
    ]


def test_options_of_the_emulator() -> None:
    device = open_device("emulator?preset=ecp5-25f&memory=3MiB&debug=1&kernel=numpy")
    assert device.config is PRESETS["ecp5-25f"]
    assert device.memory_bytes == 3 << 20
    assert isinstance(device, Emulator)
    assert (device._kernel, device._guard is not None) == ("numpy", True)
    assert not device.is_board


def test_the_emulator_as_it_is() -> None:
    device = open_device("emulator", kernel="numpy")
    assert device.config is PRESETS["ecp5-85f"]
    assert device.memory_bytes == 1 << 30
    assert isinstance(device, Emulator)
    assert (device._kernel, device._guard) == ("numpy", None)


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
            "emulator?preset=big",
            "preset is 'big'; expected one of ['ecp5-85f', 'ecp5-25f', 'zynq-7020', 'paper']",
        ),
        (
            "emulator?speed=9&memory=1MiB&fast",
            "the emulator has no option ['fast', 'speed']; it has ['preset', 'memory', 'kernel', 'debug']",
        ),
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
