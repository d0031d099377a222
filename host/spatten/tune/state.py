# SPDX-License-Identifier: BSD-2-Clause
"""What a tuning has found so far, in a file that is always whole: stopped, it goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..report.write import write_atomic

NAME = "search.json"


class State:
    """Results by key, kept in ``folder/search.json``.

    Parameters
    ----------
    folder : made if missing.
    settings : what the results depend on.

    Raises
    ------
    InputError : the folder holds a tuning with other settings, or a file that is none.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / NAME
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.results: dict[str, Any] = {}
        if self.path.is_file():
            self._take_up()
        self._save()

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The JSON-able result of ``work``, which runs only if it has not before."""
        if key not in self.results:
            self.results[key] = work()
            self._save()
        return self.results[key]

    def _take_up(self) -> None:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            settings, self.results = found["settings"], found["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(self.path)!r} is no state of a tuning; delete it to start anew"
            ) from error
        other = sorted(
            name for name in settings | self.settings if settings.get(name) != self.settings.get(name)
        )
        if other:
            was, now = ({name: part.get(name) for name in other} for part in (settings, self.settings))
            raise InputError(
                f"{str(self.path.parent)!r} holds a tuning with {was}; this one has {now}. "
                "Name another output, or delete that folder"
            )

    def _save(self) -> None:
        write_atomic(
            self.path, json.dumps({"settings": self.settings, "results": self.results}, indent=1) + "\n"
        )
