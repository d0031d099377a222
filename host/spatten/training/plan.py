# SPDX-License-Identifier: BSD-2-Clause
"""How long training lasts, and what its share done says about learning rate and window length."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InputError


@dataclass(frozen=True)
class Plan:
    """A run, bounded by time or by steps.

    Attributes
    ----------
    minutes : wall-clock time over all sessions of the run; used when ``steps`` is None.
    steps : optimizer steps; the same seed and number of threads then give the same model.
    tokens : tokens a step; a multiple of ``long``.
    short, long : window lengths in tokens; ``long`` is used in the last ``long_share`` of the run.
    warm_up : share of the run in which the learning rate rises from zero.
    """

    minutes: float = 65.0
    steps: int | None = None
    tokens: int = 4096
    short: int = 256
    long: int = 1024
    long_share: float = 0.25
    warm_up: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tokens % self.long or self.tokens % self.short:
            raise InputError(
                f"tokens a step is {self.tokens}; expected a multiple of the windows, "
                f"{self.short} and {self.long}"
            )
        if (self.steps is not None and self.steps < 1) or self.minutes <= 0:
            raise InputError(
                f"the run is {self.steps} steps or {self.minutes} minutes; expected more than none"
            )

    def share(self, step: int, seconds: float) -> float:
        """How much of the run is done, 0 to 1."""
        done = seconds / (60 * self.minutes) if self.steps is None else step / self.steps
        return min(done, 1.0)

    def rate(self, share: float) -> float:
        """Factor on the learning rates: up from zero, then straight down to zero at the end."""
        rising = share / self.warm_up if self.warm_up else 1.0
        return max(min(rising, (1 - share) / (1 - self.warm_up)), 1e-3)

    def length(self, share: float) -> int:
        """Window length in tokens at this share of the run."""
        return self.long if share >= 1 - self.long_share else self.short
