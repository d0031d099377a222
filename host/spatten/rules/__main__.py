# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten.rules``: read by all rules, merge in all ways; write docs/rules.md and its numbers."""

from __future__ import annotations

from ..cli import threads

# isort: split
import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..cli.console import err, errors_to_exit_codes, progress, quiet_libraries, teller
from ..quality.tasks import Sample
from ..report.write import check_writable, write_atomic
from . import importance, merging
from .page import rules_json, rules_markdown
from .sweep import TEXTS, again, sweep

__all__ = ["app", "rules", "threads"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command()
def rules(
    development: Annotated[
        int, typer.Option(min=1, max=10, help="Windows a text that settings are chosen on.")
    ] = 4,
    test: Annotated[int, typer.Option(min=2, help="Windows a text that are reported.")] = 12,
    merged: Annotated[int, typer.Option(min=2, help="Texts a task of the comparison of merging.")] = 300,
    kept: Annotated[int, typer.Option(min=2, help="Windows a text of the comparison of importance.")] = 8,
    repeat: Annotated[int, typer.Option(min=2, help="Windows a text of the next seed.")] = 48,
    seed: Annotated[int, typer.Option(help="Seed that draws windows and texts.")] = 0,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("docs/rules.md"),
    build: Annotated[
        Path, typer.Option(help="Folder of rules.json and, in rules/, of what was read.")
    ] = Path("build"),
) -> None:
    """Compare rules of reading at equal bytes. Stopped, it goes on where it was.

    Example: `python -m spatten.rules --test 4 --merged 50 --out build/try.md --build build/try`
    """
    quiet_libraries()
    with errors_to_exit_codes("interrupted; what was read is kept, run it again to go on"):
        numbers = build / "rules.json"
        for path in (out, numbers):
            path.parent.mkdir(parents=True, exist_ok=True)
            check_writable(path)
        with progress(1) as bar:
            told = teller(bar, bar.tasks[0].id)
            texts = sweep(development, test, build / "rules" / "decode", seed, progress=told)
            before = [Sample(development, seed, development=True), Sample(test, seed)]
            others = again(repeat, before, build / "rules" / "again", seed + 1, told)
            pairs = merging.compare(merged, build / "rules" / "merging", seed, told)
            survivors = importance.compare(kept, build / "rules" / "importance", seed, told)
        command = shlex.join(["python", "-m", "spatten.rules", *sys.argv[1:]])
        asked = {"development": development, "test": test, "scored": TEXTS[0].scored}
        page = rules_markdown(texts, others, pairs, survivors, command, **asked)
        found = rules_json(texts, others, pairs, survivors, command)
        write_atomic(numbers, json.dumps(found, indent=1) + "\n")
        write_atomic(out, page)
        err().print(f"wrote {out} and {numbers}", soft_wrap=True)


if __name__ == "__main__":
    app()
