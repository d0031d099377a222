# SPDX-License-Identifier: BSD-2-Clause
"""docs/recording.md says what the file holds, and its reader reads."""

import re
import subprocess
import sys
from pathlib import Path

from spatten_drivers.recording import Recorder
from spatten_drivers.recording.store import read_records

from .devices import emulator, three_layers

PAGE = (Path(__file__).parents[3] / "docs" / "recording.md").read_text("utf-8")


def test_the_reader_of_the_page_runs(tmp_path: Path) -> None:
    with Recorder(emulator(), tmp_path / "run.rec") as device:
        three_layers(device)
    (program,) = re.findall(r"```python\n(import gzip.*?)```", PAGE, re.DOTALL)
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["recording", *["job", "answer"] * 3, "end"], run.stderr
    assert lines[2].startswith("answer 1 {'answer': (304,), 'output': (")


def test_every_field_and_array_stands_in_the_table(tmp_path: Path) -> None:
    with Recorder(emulator(), tmp_path / "run.rec") as device:
        three_layers(device)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for record in read_records(tmp_path / "run.rec"):
        named = set(re.findall(r"`(\w+)`", rows[record.kind]))
        assert (set(record.head) - {"record", "arrays"}) | set(record.arrays) <= named
    assert set(rows) == {"recording", "job", "answer", "end"}
