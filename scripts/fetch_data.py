# SPDX-License-Identifier: BSD-2-Clause
"""Fetch the texts of the quality study and check their hashes: `python scripts/fetch_data.py`.

Afterwards the study, and the training of gpt2-prose, need no network. A second call only checks.
"""

from spatten.cli.console import exit_code, report_error
from spatten.fetch import FetchError, cache_dir
from spatten.quality.tasks import TASKS

try:
    for task in TASKS:
        task.load()
        print(f"{task.title}\n    {task.licence}")
    print(f"in {cache_dir()}")
except FetchError as error:
    report_error(error)
    raise SystemExit(exit_code(error)) from None
