# SPDX-License-Identifier: BSD-2-Clause
"""`spatten load` with a stand-in for openFPGALoader: its flags, its messages in plain words, the wait."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spatten.cli import app
from spatten.loading import usual_uri, wait_for, with_map
from spatten_drivers import Emulator
from spatten_drivers.bitstream import BITSTREAM, Bitstream
from spatten_drivers.errors import DeviceBusyError, DeviceMismatchError, LinkTimeoutError, LoadError
from spatten_drivers.loader import WAYS, command, explained
from spatten_drivers.loader import load as load_into
from tests.drivers.bitstream_folder import change, record, write_folder

#: What openFPGALoader 1.1.1 printed without a board, and what its users report with one.
SAID = {
    "no library": (
        "openFPGALoader: error while loading shared libraries: libusb-1.0.so.0: cannot open shared object "
        "file: No such file or directory",
        "lacks libusb-1.0.so.0: apt-get install libusb-1.0-0 libftdi1-2",
    ),
    "no board": (
        "unable to open ftdi device: -3 (device not found)\nempty\n"
        "JTAG init failed with: unable to open ftdi device",
        "no board was found. Check power and cable (lsusb must show 0403:6010)",
    ),
    "no bootloader": (
        "empty\nOpen file : DONE\nParse file DONE\nOpen device 1209:5af0 Not found\n"
        "DFU init failed with: No DFU compatible device found",
        "no board was found",
    ),
    "no permission": (
        "unable to open ftdi device: -4 (usb_open() failed)\n"
        "JTAG init failed with: unable to open ftdi device",
        'ATTRS{idVendor}=="0403", ATTRS{idProduct}=="6010"',
    ),
    "held": ("unable to open ftdi device: -5 (unable to claim usb device)", "another program holds"),
    "no CMSIS-DAP": (
        "Jtag: support for cmsisdap was not enabled at compile time\nJTAG init failed with: std::exception",
        "built without cmsisdap, which the board's probe speaks",
    ),
    "too old": ("Error: cannot find board 'ecpix5'", "too old to know the board"),
    "something else": ("the moon is in the wrong place", "for a reason that is not known here"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of bitstreams."""
    folder = tmp_path / "bitstreams"
    for board in WAYS:
        write_folder(folder / board, board=board)
    change(folder / "ulx3s", links=["uart"])
    return folder


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a program that says something at openFPGALoader's place; what it was called with is kept."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def loader(said: str = "Loading: 100.00%\nDone", code: int = 0) -> Path:
        path = folder / "openfpgaloader-cli"
        text = f"#!/bin/sh\necho \"$*\" >> {calls}\nprintf '%s\\n' {shlex.quote(said)}\nexit {code}\n"
        path.write_text(text, "utf-8")
        path.chmod(0o755)
        return calls

    return loader


def spatten_load(place: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["load", "--folder", str(place), *arguments], env={"COLUMNS": "300"})


@pytest.mark.parametrize(
    ("board", "flash", "flags"),
    [
        ("ecpix5", False, "-b ecpix5"),
        ("ecpix5", True, "-b ecpix5 -f"),
        ("ulx3s", False, "-b ulx3s"),
        ("butterstick", False, "-c ft2232"),
        ("butterstick", True, "--dfu --vid 0x1209 --pid 0x5af1 --altsetting 0"),
        ("orangecrab", True, "-b orangeCrab"),
        ("colorlight-i5", False, "-b colorlight-i5"),
        ("colorlight-i9", True, "-b colorlight-i9 -f"),
    ],
)
def test_flags_of_each_board(place: Path, loader: Any, board: str, flash: bool, flags: str) -> None:
    calls = loader()
    result = spatten_load(place, board, "--wait", "0", *(["--flash"] if flash else []))
    assert result.exit_code == 0, result.output
    bit = place / board.replace("-", "_") / "spatten.bit"
    assert calls.read_text("utf-8") == f"{flags} {bit}\n"
    assert "loaded: " in result.stdout


def test_flags_of_ones_own(place: Path, loader: Any) -> None:
    calls = loader()
    assert spatten_load(place, "ecpix5", "--flags", "-b ecpix5_r03", "--flash", "--wait", "0").exit_code == 0
    assert calls.read_text("utf-8").startswith("-b ecpix5_r03 -f ")


def test_a_board_that_has_flash_only(place: Path, loader: Any) -> None:
    calls = loader()
    result = spatten_load(place, "orangecrab")
    assert result.exit_code == 3
    assert "writes to flash and nowhere else; add --flash" in result.stderr
    assert not calls.exists()


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("code", [0, 1], ids=["code 0", "code 1"])
def test_what_the_loader_says_in_plain_words(place: Path, loader: Any, name: str, code: int) -> None:
    said, meant = SAID[name]
    if code == 0 and name in ("no library", "held", "something else"):
        pytest.skip("nothing of this ends with 0")
    loader(said, code)
    result = spatten_load(place, "ecpix5")
    assert result.exit_code == 3
    assert "error: ecpix5 was not loaded:" in result.stderr
    assert meant in result.stderr.replace("\n", " ")
    assert said.splitlines()[-1] in result.stderr
    assert "Traceback" not in result.stderr


def test_rules_name_the_usb_device_of_the_board() -> None:
    said = explained("orangecrab", "LIBUSB_ERROR_ACCESS")
    assert "/etc/udev/rules.d/70-spatten-orangecrab.rules" in said
    assert 'ATTRS{idVendor}=="1209", ATTRS{idProduct}=="5af0"' in said
    assert 'ATTRS{product}=="*CMSIS-DAP*"' in explained("colorlight_i5", "LIBUSB_ERROR_ACCESS")


def test_no_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python3"))
    with pytest.raises(LoadError, match=r"pip install 'spatten\[load\]' brings it"):
        command("ecpix5", Path("spatten.bit"), flash=False)


def test_a_loader_that_hangs_is_stopped(place: Path, loader: Any) -> None:
    path = loader().parent / "bin" / "openfpgaloader-cli"
    path.write_text("#!/bin/sh\nexec sleep 60\n", "utf-8")
    with pytest.raises(LoadError, match=r"has not ended within 0.2 s and was stopped"):
        load_into("ecpix5", place / "ecpix5" / BITSTREAM, seconds=0.2)


def test_a_damaged_bitstream_is_not_loaded(place: Path, loader: Any) -> None:
    calls = loader()
    (place / "ecpix5" / "spatten.bit").write_bytes(b"")
    result = spatten_load(place, "ecpix5")
    assert result.exit_code == 1
    assert "spatten.bit has 0 bytes" in result.stderr
    assert not calls.exists()


def test_a_board_without_a_bitstream(place: Path) -> None:
    result = spatten_load(place, "versa")
    assert result.exit_code == 1
    assert "no bitstream of 'versa'" in result.stderr
    assert "make bitstream BOARD=versa" in result.stderr


# Waiting ------------------------------------------------------------------------------------------


def test_uris(place: Path) -> None:
    ecpix5, ulx3s = (Bitstream.load(place / board) for board in ("ecpix5", "ulx3s"))
    csr = place / "ecpix5" / "csr.json"
    assert usual_uri(ecpix5) == f"litex:link://192.168.1.50?csr={csr}"
    assert usual_uri(ulx3s) is None
    assert with_map("litex:udp://10.0.0.2?level=1", ecpix5) == f"litex:udp://10.0.0.2?level=1&csr={csr}"
    assert with_map("litex:udp://10.0.0.2?csr=mine", ecpix5) == "litex:udp://10.0.0.2?csr=mine"
    assert with_map("emulator", ecpix5) == "emulator"


def test_it_waits_until_the_board_answers(place: Path, loader: Any) -> None:
    """The emulator stands for the board."""
    loader()
    result = spatten_load(place, "colorlight-i5", "--uri", "emulator?preset=ecp5-25f&memory=8MiB")
    assert result.exit_code == 0, result.output
    digest = record()["config_digest"]
    assert f"answers: emulator (config {digest}), 8 MiB" in result.stdout
    assert "next: spatten selftest --device 'emulator?preset=ecp5-25f&memory=8MiB'" in result.stdout


def test_another_bitstream_that_answers_is_refused(place: Path, loader: Any) -> None:
    loader()
    result = spatten_load(place, "colorlight-i5", "--uri", "emulator?memory=8MiB")
    assert result.exit_code == 3
    assert "config.lanes 8 in the manifest, 64 on the device" in result.stderr


def test_a_serial_line_has_to_be_named(place: Path, loader: Any) -> None:
    loader()
    result = spatten_load(place, "ulx3s")
    assert result.exit_code == 0
    assert "litex:serial:///dev/ttyUSB0?baud=1000000" in result.stderr


class Board:
    """Answers after so many tries; time passes only while somebody waits."""

    def __init__(self, tries: int, error: type[Exception] = LinkTimeoutError) -> None:
        self.tries, self.error, self.time, self.told = tries, error, 0.0, 0

    def opened(self, uri: str) -> Emulator:
        self.tries -= 1
        if self.tries >= 0:
            raise self.error("no valid answer to 8 requests")
        return Emulator(Bitstream.load(Path(uri)).config, memory_bytes=8 << 20)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def wait(self, folder: Path, seconds: float) -> Emulator:
        def tried(why: str) -> None:
            self.told += 1

        return wait_for(
            Bitstream.load(folder), str(folder), seconds,
            tried=tried, opened=self.opened, sleep=self.sleep, now=lambda: self.time,
        )  # fmt: skip


def test_a_board_that_takes_a_while(place: Path) -> None:
    board = Board(tries=5)
    with board.wait(place / "ecpix5", 60.0) as device:
        assert device.memory_bytes == 8 << 20
    assert (board.told, board.time) == (5, 5.0)


def test_a_board_that_never_answers(place: Path) -> None:
    board = Board(tries=1000)
    with pytest.raises(LoadError, match=r"was loaded, but .* does not answer within 9 s: no valid answer"):
        board.wait(place / "ecpix5", 9.0)
    assert board.time == 9.0


@pytest.mark.parametrize("error", [DeviceBusyError, DeviceMismatchError])
def test_what_no_waiting_mends_is_told_at_once(place: Path, error: type[Exception]) -> None:
    with pytest.raises(error):
        Board(1000, error).wait(place / "ecpix5", 60.0)
