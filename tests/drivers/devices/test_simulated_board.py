# SPDX-License-Identifier: BSD-2-Clause
"""The simulated system behind a UDP socket, reached over the link SpL as a board is: the emulator's bytes.

The gateware's end of the link, the core and LiteDRAM's controller are the RTL. The simulator with a link
takes over a minute of a CPU to build, so most of this is deep.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from spatten_drivers import Emulator, open_device
from spatten_drivers.devices import verilator
from spatten_drivers.devices.litex import LitexDevice
from spatten_drivers.devices.simulated_board import SimulatedBoard
from spatten_drivers.devices.simulated_line import SimulatedLine
from spatten_drivers.errors import DeviceError, LinkError
from spatten_drivers.link import LinkClient, UdpTransport
from tests.drivers.devices.litex.test_device import jobs, same
from tests.drivers.devices.test_verilator import VECTORS, adapted, run_image, simulator, without_clock

#: Jobs and refusals, of this configuration and of others.
NAMES = ("one_of_each", "random_0", "reuse_causal", "refetch_some_rows", "refused_magic", "one_query")
SPOILED = ("--faults", "0.03", "--seed", "7")


@contextmanager
def served(*options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The uri of a board in a process of its own, and the process."""
    command = [sys.executable, "-m", "spatten_drivers.devices.simulated_board", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(scope="module", params=[(), SPOILED], ids=["clean", "faulty network"])
def device(request: pytest.FixtureRequest) -> Iterator[LitexDevice]:
    with served(*request.param) as (uri, _), open_device(uri) as opened:
        assert isinstance(opened, LitexDevice)
        yield opened
        assert opened.bus_errors == 0
        assert (opened.link_counts.get("repeated", 0) > 50) is bool(request.param)


@pytest.mark.deep
@pytest.mark.parametrize("name", NAMES)
def test_golden_vectors(device: LitexDevice, name: str) -> None:
    """All of memory that a job may touch, as the emulator leaves it."""
    vector = np.load(VECTORS / f"{name}.npz")
    descriptor = int(vector["descriptor_address"])
    before = adapted(vector["memory_before"], descriptor, device.config)
    answer = int(before[descriptor + 104 :][:4].view("<u4")[0])
    emulator = Emulator(device.config, memory_bytes=device.memory_bytes)
    assert run_image(device, before, descriptor) == run_image(emulator, before, descriptor)
    found, expected = (without_clock(each.read_memory(0, before.size), answer) for each in (device, emulator))
    assert np.flatnonzero(found != expected).tolist() == []


@pytest.mark.deep
def test_jobs_of_the_driver(device: LitexDevice) -> None:
    assert same(jobs(device), jobs(Emulator(device.config, memory_bytes=1 << 16, kernel="numpy")))
    assert not device.is_board


@pytest.mark.deep
def test_a_board_that_is_killed_is_told() -> None:
    with served() as (uri, process), open_device(uri) as device:
        jobs(device, 1)
        process.kill()
        process.wait()
        with pytest.raises(
            LinkError, match=r"no answer to .*, sent \d+ times within 5 s; .* the board is on"
        ):
            jobs(device, 1)
        with pytest.raises(LinkError, match="Open the device again and start anew"):
            device.read_register("STATUS")


@pytest.mark.deep
def test_what_is_no_packet_is_counted_and_dropped() -> None:
    """By the gateware: no word at all, no whole word, no packet, too long a packet."""
    with served() as (uri, _):
        place = urlsplit(urlsplit(uri).path)
        transport = UdpTransport(place.hostname or "", place.port or 0)
        client = LinkClient(transport)
        assert client.identify().damaged == 0
        for junk in (b"", b"abcde", bytes(64), bytes(4000)):
            transport.send(junk)
        assert client.identify().damaged == 3
        client.close()


def test_a_system_without_a_link_is_refused() -> None:
    with pytest.raises(DeviceError, match="built without a link; build it with --link"):
        SimulatedLine(simulator("small").bus)


def test_a_port_that_is_taken_is_told() -> None:
    """Before anything is simulated."""
    folder = verilator.built_folder("small")
    with pytest.raises(DeviceError, match=r"cannot listen at UDP 127.0.0.1:70000 .*Give --port 0 for any"):
        SimulatedBoard(folder, port=70000)
