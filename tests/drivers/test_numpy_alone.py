# SPDX-License-Identifier: BSD-2-Clause
"""The driver runs where there is nothing but NumPy: a board's processor has no PyTorch."""

import subprocess
import sys

PROGRAM = """
import sys

names = ["torch", "transformers", "migen", "litex", "numba", "typer", "rich", "jinja2", "scipy", "pynq"]
sys.modules.update(dict.fromkeys(names))  # importing any of them fails, as if it were not installed

import numpy as np
from spatten_drivers import Accelerator, LayerRequest, Quantization, Sequence, Shape, open_device
from spatten_drivers.model import available_kernels
from spatten_drivers.recording import Shadow

device = Shadow(open_device("emulator?memory=1MiB"))
sequence = Sequence(device, Shape(1, 2, 32, 8), Quantization.progressive())
values = np.random.default_rng(0).standard_normal((2, 8, 32))
slots, heads = np.arange(8), np.arange(2)
sequence.write(0, heads, slots, values, values)
result = Accelerator(device).attend(sequence, LayerRequest(0, heads, values, slots, slots, 8, 32**-0.5))
assert available_kernels() == ("numpy",)
print(result.answer.status.name, result.output.shape)
"""


def test_import_and_a_job() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "DONE (2, 8, 32)\n"), run.stderr
