# SPDX-License-Identifier: BSD-2-Clause
"""What a tuning has found so far, in a file that is always whole: stopped, it goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from ..report.write import write_atomic

NAME = "search.json"
LOCK = "search.lock"
#: Of a model folder what makes the model: another state of these files is another model.
MODEL_FILES = ("config.json", "*.safetensors", "*.bin")


class State:
    """Results by key, kept in ``folder/search.json``, which nobody else may change until :meth:`close`.

    Parameters
    ----------
    folder : made with the first result, or by :meth:`save`: what is refused before leaves nothing behind.
    settings : what the results depend on.
    inputs : digests of what the settings only name, and which may have changed since.

    Raises
    ------
    InputError : the folder holds a tuning with other settings or inputs, or one that is running, or a file
        that is none.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], inputs: Mapping[str, str] | None = None
    ) -> None:
        self.path = folder / NAME
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.inputs = dict(inputs or {})
        self.results: dict[str, Any] = {}
        self._lock = FileLock(folder / LOCK, blocking=False)
        if folder.is_dir():
            self._own()
        if self.path.is_file():
            self._take_up()

    def once(self, key: str, work: Callable[[], Any]) -> Any:
        """The JSON-able result of ``work``, which runs only if it has not before."""
        if key not in self.results:
            self.results[key] = work()
            self.save()
        return self.results[key]

    def save(self) -> None:
        """Write it, results or not: from here on the folder is this tuning's."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"folder {str(self.path.parent)!r} cannot be made: {error.strerror}. Name another output"
            ) from error
        self._own()
        record = {"settings": self.settings, "inputs": self.inputs, "results": self.results}
        write_atomic(self.path, json.dumps(record, indent=1) + "\n")

    def close(self) -> None:
        """Leave the folder to others."""
        self._lock.release(force=True)

    def _own(self) -> None:
        """Two of one folder would write over each other's results and checkpoints."""
        try:
            if not self._lock.is_locked:
                self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{str(self.path.parent)!r} is at work in another command. "
                "Wait for it, or name another output"
            ) from error

    def _take_up(self) -> None:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            settings, self.results = found["settings"], found["results"]
            inputs = found.get("inputs", {})
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
        # Those of a state that an earlier version wrote are not known.
        changed = sorted(name for name in inputs if inputs[name] != self.inputs.get(name))
        if changed:
            raise InputError(
                f"{str(self.path.parent)!r} holds a tuning whose {' and '.join(changed)} changed since. "
                "Name another output, or delete that folder"
            )


def file_digests(model: str, data: str) -> dict[str, str]:
    """Digests of the model's and the data's files; nothing for names that are none."""
    found = {"model": [path for name in MODEL_FILES for path in sorted(Path(model).glob(name))]}
    found["data"] = [Path(data)] if Path(data).is_file() else []
    return {name: _digest(paths) for name, paths in found.items() if paths}


def _digest(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            whole.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
