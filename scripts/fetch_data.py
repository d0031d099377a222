# SPDX-License-Identifier: BSD-2-Clause
"""Fetch the texts of the quality study and check their hashes: `python scripts/fetch_data.py`.

Afterwards the study, and the training of gpt2-prose, need no network. A second call only checks.
"""

from spatten.cli.console import errors_to_exit_codes
from spatten.fetch import cache_dir
from spatten.quality.tasks import TASKS

with errors_to_exit_codes():
    for task in TASKS:
        task.load()
        print(f"{task.title}\n    {task.licence}")
    print(f"in {cache_dir()}")
