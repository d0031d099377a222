# SPDX-License-Identifier: BSD-2-Clause
"""Runs a device beside the software model, and stops at the first job that they answer differently."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..answer import Status
from ..devices.base import Device
from ..errors import ConfigError, DeviceDifferenceError, DeviceTimeoutError, RecordingError
from .case import Case, on_device, on_model
from .outcome import UNREPEATABLE, Difference, Outcome, first_difference
from .recorder import write_case
from .shrink import Shrinker
from .watch import BARE_TIMEOUT, SeenJob, Watch

log = logging.getLogger(__name__)
_CLEAR_ERROR = 2


class Shadow(Watch):
    """``device`` whose jobs are compared, bit for bit, with what the software model makes of the same memory.

    It is a device like the one inside. Jobs run one at a time.

    Parameters
    ----------
    share : of the jobs that are compared, from above 0 to 1; which ones, ``seed`` decides.
    folder : where a job that differs is written; made if it is missing.
    trials : most jobs that are run to make it smaller.
    timeout : seconds for each of them.
    kernel : of the software model.
    progress : told one line before each trial.

    Attributes
    ----------
    jobs, compared : how many jobs have ended, and how many of them were compared and found equal.

    Raises
    ------
    DeviceDifferenceError : from the call that saw the job end; the message names job, layer, field and files.
    ConfigError : ``share`` or ``trials`` is out of range.
    RecordingError : the folder cannot be made.
    """

    def __init__(
        self,
        device: Device,
        *,
        share: float = 1.0,
        seed: int = 0,
        folder: str | Path = ".",
        trials: int = 200,
        timeout: float = BARE_TIMEOUT,
        kernel: str = "auto",
        progress: Callable[[str], None] = log.info,
    ) -> None:
        super().__init__(device)
        if not 0.0 < share <= 1.0 or trials < 0:
            raise ConfigError(
                f"shadow: share {share}, trials {trials}; expected a share above 0 and at most 1, and 0 or "
                "more trials"
            )
        self._folder, self._share, self._chance = Path(folder), share, np.random.default_rng(seed)
        self._trials, self._timeout, self._kernel, self._progress = trials, timeout, kernel, progress
        self._case: Case | None = None
        self._error = self.inner.read_register("JOB_ERROR") & 0xFF
        self.jobs = self.compared = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(
                f"folder {str(folder)!r} cannot be made: {error.strerror}; name one that can be written"
            ) from error

    def register_written(self, name: str, value: int) -> None:
        if name == "CONTROL" and value & _CLEAR_ERROR:
            self._error = 0

    def job_starts(self, seen: SeenJob) -> None:
        chosen = self._chance.random() < self._share
        self._case = Case.taken(seen, self.mirror) if chosen else None

    def job_ended(self, seen: SeenJob, outcome: Outcome) -> None:
        self.jobs += 1
        before, case, self._case = self._error, self._case, None
        self._error = before or (0 if outcome.status is Status.DONE else int(outcome.status))
        if case is None or outcome.status in UNREPEATABLE:
            return
        expected = on_model(case, self.config, self.memory_bytes, self._kernel)
        if before and not seen.regions:  # such a job shows in a register that an older error still holds
            expected = replace(expected, error=before)
        difference = first_difference(expected, outcome, seen.job, self.config.beat_bytes)
        if difference is None:
            self.compared += 1
            return
        raise DeviceDifferenceError(self._story(case, expected, outcome, difference))

    def _story(self, case: Case, expected: Outcome, outcome: Outcome, difference: Difference) -> str:
        """Write and shrink the job; what happened, in words."""
        seen = case.seen
        layer = "" if seen.layer is None else f", layer {seen.layer}"
        what = (
            f"{self.name}: job {seen.number} (id {seen.job_id}{layer}) differs from the software model in "
            f"{difference}"
        )
        path = self._folder / f"spatten-difference-job{seen.number}.rec"
        try:
            write_case(path, case, expected, self.config, self.memory_bytes, what)
            return f"{what}. {self._shrunk(case, path, outcome, what)}"
        except RecordingError as error:
            return f"{what}. It could not be kept: {error}"

    def _shrunk(self, case: Case, path: Path, outcome: Outcome, what: str) -> str:
        kept = f"The job and the memory it reads are in {path}"
        try:
            if self._difference(case) is None:
                return f"{kept}; run once more it gave the right bits, so the fault comes and goes"
            if case.seen.job is None or not self._trials:
                return f"{kept}; see it with `spatten replay {path}`"
            return f"{kept}; {self._smaller(case, path, what)}"
        except DeviceTimeoutError as error:
            return f"{kept}; run once more it did not end: {error}"
        finally:
            self._restore(case, outcome)

    def _smaller(self, case: Case, path: Path, what: str) -> str:
        beat = self.config.beat_bytes
        shrinker = Shrinker(case, self.memory_bytes, beat, self._still_differs, self._trials, self._progress)
        note = ""
        try:
            shrinker.run()
        except DeviceTimeoutError:
            note = ", of which the last did not end,"
        small = path.with_name(f"{path.stem}-small.rec")
        expected = on_model(shrinker.best, self.config, self.memory_bytes, self._kernel)
        write_case(small, shrinker.best, expected, self.config, self.memory_bytes, f"shrunk from: {what}")
        trials = f"{shrinker.used} trials{note}"
        return f"{trials} shrank it to {shrinker.kept}: see it with `spatten replay {small}`"

    def _still_differs(self, case: Case) -> bool:
        return self._difference(case) is not None

    def _difference(self, case: Case) -> Difference | None:
        """Between model and device in a trial; a job that ends otherwise than the first shows nothing."""
        expected = on_model(case, self.config, self.memory_bytes, self._kernel)
        if case.seen.job is not None and expected.status is not Status.DONE:
            return None
        try:
            got = on_device(case, self.inner, self._timeout)
        except DeviceTimeoutError:
            self.inner.abort()
            raise
        return first_difference(expected, got, case.seen.job, self.config.beat_bytes)

    def _restore(self, case: Case, outcome: Outcome) -> None:
        """Device memory as the job had left it."""
        for start, data in case.memory:
            self.inner.write_memory(start, data)
        for name, (start, _) in case.seen.regions.items():
            self.inner.write_memory(start, outcome.parts[name])
