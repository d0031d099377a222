# SPDX-License-Identifier: BSD-2-Clause
"""What the model recorded plays on the system's RTL bit for bit, and the other way round."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spatten_drivers import Device, Emulator, open_device
from spatten_drivers.recording import Recorder, replay

from .devices import MEMORY, flipping_a_bit, growing, three_layers


@pytest.fixture(params=["small", pytest.param("ecp5-85f", marks=pytest.mark.deep)])
def uri(request: pytest.FixtureRequest) -> str:
    """A system whose memory is reached over bus and DRAM controller, as the default is."""
    return f"verilator?preset={request.param}&door=front"


@pytest.fixture
def soc(uri: str) -> Iterator[Device]:
    with open_device(uri) as device:
        yield device


@pytest.fixture
def model(soc: Device) -> Emulator:
    return Emulator(soc.config, memory_bytes=MEMORY, kernel="numpy")


def test_the_models_recording_on_the_rtl(soc: Device, model: Emulator, tmp_path: Path) -> None:
    """Three layers of a text, then a prompt and four steps: eight jobs."""
    path = tmp_path / "model.rec"
    with Recorder(model, path) as device:
        three_layers(device)
        growing(device)
    report = replay(path, soc)
    assert (report.jobs, report.equal, report.skipped, report.differences) == (8, 8, 0, [])
    assert report.recorded.cycles == 0 < report.replayed.cycles


def test_the_rtls_recording_on_the_model_and_on_itself(
    uri: str, soc: Device, model: Emulator, tmp_path: Path
) -> None:
    """On itself in the same cycles too, but for where a refresh of the DRAM falls."""
    path = tmp_path / "rtl.rec"
    with Recorder(soc, path) as device:  # which closes the device at its end
        three_layers(device)
    with open_device(uri) as again:
        for player in (model, again):
            report = replay(path, player)
            assert (report.jobs, report.equal, report.differences) == (3, 3, [])
    assert report.replayed.cycles == pytest.approx(report.recorded.cycles, rel=0.05)


def test_a_wrong_bit_in_a_recording_is_found_on_the_rtl(soc: Device, tmp_path: Path) -> None:
    path = tmp_path / "wrong.rec"
    wrong = flipping_a_bit("output", 2, lambda fields: fields["job_id"] == 2, config=soc.config)
    with Recorder(wrong, path) as device:
        three_layers(device)
    (found,) = replay(path, soc).differences
    assert (found.job, found.difference.field) == (2, "output")
