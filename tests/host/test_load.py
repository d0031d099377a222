# SPDX-License-Identifier: BSD-2-Clause
"""`spatten load` with a stand-in for openFPGALoader: its flags, its messages in plain words, the wait."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from spatten.cli import app
from spatten.loading import for_selftest, usual_uri, wait_for, with_map
from spatten_drivers import Emulator
from spatten_drivers.bitstream import BITSTREAM, Bitstream
from spatten_drivers.devices import Refusal, check_uri
from spatten_drivers.devices.litex.opening import DEFAULTS
from spatten_drivers.devices.uri import options_of
from spatten_drivers.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceMismatchError,
    LinkTimeoutError,
    LoadError,
    UriError,
)
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
    "another chip": (
        "idcode 0x41111043 mismatch, Not found",
        "the chip that answers is another one than the bitstream is for",
    ),
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


def test_flags_that_no_shell_takes(place: Path, loader: Any) -> None:
    calls = loader()
    result = spatten_load(place, "ecpix5", "--flags", "'-c")
    assert result.exit_code == 3
    assert """flags are "'-c", which no shell takes: No closing quotation""" in result.stderr
    assert not calls.exists()


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
    if code == 0 and name in ("no library", "held", "another chip", "something else"):
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


def test_a_bitstream_under_another_boards_name_is_not_loaded(place: Path, loader: Any) -> None:
    calls = loader()
    change(place / "orangecrab", board="ecpix5", rebuild="python3 -m spatten_fpga.targets.ecpix5 --build")
    result = spatten_load(place, "orangecrab")
    assert result.exit_code == 1
    assert "the folder is orangecrab, but the board of its manifest is ecpix5" in result.stderr
    assert not calls.exists()


def test_a_board_without_a_bitstream(place: Path) -> None:
    result = spatten_load(place, "versa")
    assert result.exit_code == 1
    assert "no bitstream of 'versa'" in result.stderr
    assert "make bitstream BOARD=versa" in result.stderr


# Waiting ------------------------------------------------------------------------------------------


def test_uris(place: Path) -> None:
    ecpix5 = Bitstream.load(place / "ecpix5")
    csr = place / "ecpix5" / "csr.json"
    assert usual_uri(ecpix5) == f"litex:link://192.168.1.50?csr={csr}"
    assert with_map("litex:udp://10.0.0.2?level=1", ecpix5) == f"litex:udp://10.0.0.2?level=1&csr={csr}"
    assert with_map("litex:udp://10.0.0.2?csr=mine", ecpix5) == "litex:udp://10.0.0.2?csr=mine"
    assert with_map("emulator", ecpix5) == "emulator"


@pytest.mark.parametrize("name", ["a+b", "a&b", "a%41", "a b", "a#b", "a?b=c"])
def test_the_path_of_the_map_survives_the_uri(tmp_path: Path, name: str) -> None:
    """However its folder is called, the parser gives back the path that was put in."""
    found = Bitstream.load(write_folder(tmp_path / name, board="ecpix5"))
    for uri in (usual_uri(found), with_map("litex:udp://10.0.0.2?level=1", found)):
        assert isinstance(uri, str)
        options = options_of("litex device", urlsplit(uri), DEFAULTS)
        assert options["csr"] == str(tmp_path / name / "csr.json")


def test_it_waits_until_the_board_answers(place: Path, loader: Any) -> None:
    """The emulator stands for the board."""
    loader()
    result = spatten_load(place, "colorlight-i5", "--uri", "emulator?preset=ecp5-25f&memory=8MiB")
    assert result.exit_code == 0, result.output
    digest = record()["config_digest"]
    assert f"answers: emulator (config {digest}), 8 MiB" in result.stdout
    assert "next: spatten selftest --device 'emulator?preset=ecp5-25f&memory=8MiB'" in result.stdout


def test_the_self_test_levels_anew_what_was_leveled_from_here() -> None:
    """Without that it would find memory ready, and no window to show; SDRAM has none."""
    uri = "litex:link://10.0.0.2?csr=map"
    assert for_selftest(uri, SimpleNamespace(leveling=object())) == f"{uri}&level=1"
    assert for_selftest(f"{uri}&level=1", SimpleNamespace(leveling=object())) == f"{uri}&level=1"
    assert for_selftest(uri, SimpleNamespace(leveling=None)) == uri
    assert for_selftest("emulator", Emulator(memory_bytes=1 << 16)) == "emulator"


def test_another_bitstream_that_answers_is_refused(place: Path, loader: Any) -> None:
    loader()
    result = spatten_load(place, "colorlight-i5", "--uri", "emulator?memory=8MiB")
    assert result.exit_code == 3
    assert "config.lanes 8 in the manifest, 64 on the device" in result.stderr


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("foo", "no device is known by 'foo'"),
        ("litex:foo://10.0.0.2", "expected litex: and one of udp://"),
        ("litex:link://10.0.0.2:http", "whole numbers"),
        ("litex:link://10.0.0.2?speed=1", "has no option"),
        ("litex:link://10.0.0.2?csr=nowhere", "nowhere: cannot be read"),
        ("emulator?memory=much", "memory is 'much'"),
        ("verilator?door=side", "door is 'side'"),
        ("pynq:", "pynq needs the path of a bitstream"),
    ],
)
def test_a_wrong_uri_is_told_before_loading(place: Path, loader: Any, uri: str, said: str) -> None:
    calls = loader()
    result = spatten_load(place, "ecpix5", "--uri", uri)
    assert result.exit_code == 3
    assert said in result.stderr
    assert not calls.exists()


# Serial ports -------------------------------------------------------------------------------------


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts serial ports into this machine: vendor:product, or the product's name, by path."""

    def ports(**usb: str) -> None:
        found = []
        for name, of in usb.items():
            vendor, colon, product = of.partition(":")
            numbers = (int(vendor, 16), int(product, 16)) if colon else (None, None)
            there = SimpleNamespace(
                device=f"/dev/{name}", vid=numbers[0], pid=numbers[1], product=None if colon else of
            )
            found.append(there)
        list_ports = SimpleNamespace(comports=lambda: found)
        modules = {"serial": SimpleNamespace(), "serial.tools": SimpleNamespace(list_ports=list_ports)}
        for name, module in (modules | {"serial.tools.list_ports": list_ports}).items():
            monkeypatch.setitem(sys.modules, name, module)

    return ports


@pytest.mark.parametrize(
    ("board", "link", "usb", "uri"),
    [
        ("ulx3s", "uart", {"ttyS0": "", "ttyUSB3": "0403:6015"}, "litex:serial:///dev/ttyUSB3"),
        ("colorlight_i9", "uart", {"ttyACM0": "DAPLink CMSIS-DAP"}, "litex:serial:///dev/ttyACM0"),
        ("ulx3s", "spl-uart", {"ttyUSB0": "0403:6015"}, "litex:link+serial:///dev/ttyUSB0"),
    ],
)
def test_the_one_serial_port_of_a_board(
    place: Path, ports: Any, board: str, link: str, usb: dict[str, str], uri: str
) -> None:
    ports(**usb)
    found = Bitstream.load(change(place / board, links=[link]))
    assert usual_uri(found) == f"{uri}?csr={place / board / 'csr.json'}"


@pytest.mark.parametrize(
    ("board", "usb", "said"),
    [
        ("ulx3s", {}, "of USB device 0403:6015 there is no serial port"),
        ("ulx3s", {"a": "0403:6015", "b": "0403:6015"}, "of USB device 0403:6015 there is /dev/a and /dev/b"),
        ("orangecrab", {"a": "1209:5af0"}, "orangecrab has no serial port of its own on USB"),
    ],
)
def test_a_port_that_is_not_known_has_to_be_named(
    place: Path, loader: Any, ports: Any, board: str, usb: dict[str, str], said: str
) -> None:
    """The board is loaded, but a script must not take it for one that answers."""
    calls = loader()
    ports(**usb)
    change(place / board, links=["uart"])
    result = spatten_load(place, board, "--flash")
    assert (result.exit_code, calls.exists()) == (3, True)
    assert f"{board} was loaded, but nothing was verified: {said}" in result.stderr
    assert f"'litex:serial:///dev/ttyUSB0?csr={place / board / 'csr.json'}'" in result.stderr
    assert spatten_load(place, board, "--flash", "--wait", "0").exit_code == 0


def test_ports_are_not_looked_for_without_pyserial(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("serial", "serial.tools.list_ports"):
        monkeypatch.setitem(sys.modules, name, None)
    found = usual_uri(Bitstream.load(place / "ulx3s"))
    assert isinstance(found, Refusal)
    assert "without pyserial (pip install pyserial)" in found.reason
    with pytest.raises(DeviceError, match="needs pyserial"):
        check_uri(f"litex:serial:///dev/ttyUSB0?csr={place / 'ulx3s' / 'csr.json'}")


# Waiting for it -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("error", [DeviceBusyError, DeviceMismatchError, UriError])
def test_what_no_waiting_mends_is_told_at_once(place: Path, error: type[Exception]) -> None:
    with pytest.raises(error):
        Board(1000, error).wait(place / "ecpix5", 60.0)
