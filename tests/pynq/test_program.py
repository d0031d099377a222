# SPDX-License-Identifier: BSD-2-Clause
"""A whole PYNQ program, unmodified, in a process of its own."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spatten_drivers import PRESETS, AcceleratorConfig
from spatten_drivers.pynq_bridge import attach
from spatten_fpga.soc.simulation import BOARDS
from tests.model.jobs import JobSpec, build
from tests.model.make_vectors import FOLDER, Vector, encode
from tests.model.oracle_config import OracleConfig

from .golden import emulator_for

PROGRAM = Path(__file__).with_name("user_program.py")
SAID = """\
driver SpattenDriver idle 1
identity SPAT
error register 0
cycles {cycles}
equal True
"""


def bridge(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m spatten_drivers.pynq_bridge ...`."""
    command = [sys.executable, "-W", "ignore", "-m", "spatten_drivers.pynq_bridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)


def job_for(config: AcceleratorConfig, folder: Path) -> Path:
    """A vector by the oracle for a configuration; golden ones have their own."""
    spec = JobSpec(
        config=OracleConfig(**config.to_dict(), abi_minor=config.abi_minor),
        n_slots=24,
        keys=tuple(range(24)),
        queries=(20, 23),
        keep_tokens=9,
    )
    path = folder / "job.npz"
    path.write_bytes(encode(Vector("program", "of a PYNQ user", build(spec))))
    return path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """For the default preset."""
    return job_for(PRESETS["ecp5-85f"], tmp_path)


def test_the_program_in_a_process_of_its_own(job: Path, bitstream: str) -> None:
    done = bridge("--device", "emulator?memory=1MiB&debug=1", str(PROGRAM), bitstream, str(job))
    assert (done.returncode, done.stdout) == (0, SAID.format(cycles=0)), done.stderr


def test_the_program_on_the_simulated_system(bitstream: str, tmp_path: Path) -> None:
    """The same program on RTL: the same bytes, and the clock counts."""
    job = job_for(BOARDS["small"].config, tmp_path)
    done = bridge("--device", "verilator?preset=small", str(PROGRAM), bitstream, str(job))
    assert done.returncode == 0, done.stderr
    cycles = int(done.stdout.split("cycles ")[1].split()[0])
    assert cycles > 100
    assert done.stdout == SAID.format(cycles=cycles)


def test_a_wrong_answer_is_seen(job: Path, bitstream: str, tmp_path: Path) -> None:
    """The program compares: given another digest of memory it says so."""
    record = dict(np.load(job)) | {"memory_after_sha256": np.array("0" * 64)}
    np.savez(tmp_path / "other.npz", **record)
    done = bridge("--device", "emulator?memory=1MiB", str(PROGRAM), bitstream, str(tmp_path / "other.npz"))
    assert done.stdout.endswith("equal False\n"), done.stderr


def test_the_program_on_a_golden_vector(
    bitstream: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The files of tests/vectors are of configurations that no uri names, so this one is attached by hand."""
    device = emulator_for("paper_96.npz", debug=True)
    attach(device)
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), bitstream, str(FOLDER / "paper_96.npz")])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    assert capsys.readouterr().out == SAID.format(cycles=0)
    assert device.allocator.bytes_taken == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.py"], 2, "error: program 'nowhere.py' does not exist\n"),
        (
            ["--device", "fpga", str(PROGRAM)],
            3,
            "error: no device is known by 'fpga'; expected auto or one of ",
        ),
        (["--device", "emulator?speed=9", str(PROGRAM)], 3, "error: the emulator has no option ['speed']"),
    ],
)
def test_what_the_runner_refuses(arguments: list[str], code: int, message: str) -> None:
    done = bridge(*arguments)
    assert done.returncode == code
    assert message in done.stderr


def test_the_programs_own_exit_code(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys\nsys.exit(len(sys.argv))\n")
    assert bridge(str(program), "--one", "two").returncode == 3


def test_a_bitstream_that_is_not_there(job: Path) -> None:
    """PYNQ's own words, as on a board."""
    done = bridge(str(PROGRAM), "missing.bit", str(job))
    assert done.returncode == 1
    assert "OSError: Bitstream file missing.bit does not exist." in done.stderr
