# SPDX-License-Identifier: BSD-2-Clause
"""The schedule that a model brings along in its config."""

from __future__ import annotations

from typing import Any

from spatten_drivers.errors import ConfigError

from ..presets import chosen_schedule
from ..schedule import Schedule

#: Where a model's own schedule stands in its config: a preset's name, a file, or a :class:`Schedule`'s table.
SCHEDULE_KEY = "spatten_schedule"
#: Who wrote it, and for what (:mod:`spatten.tune.result`).
ORIGIN_KEY = "spatten_tuned"


def own_schedule(config: Any) -> str | Schedule:
    """The schedule of a transformers config; ``dense`` where it has none.

    Raises
    ------
    ConfigError : what stands there is no schedule of this version, or not one of this model.
    """
    given = getattr(config, SCHEDULE_KEY, None)
    if given is None:
        return "dense"
    try:
        found = chosen_schedule(given) if isinstance(given, str) else Schedule.from_dict(given)
        if isinstance(found, Schedule):
            found.plan(config.num_hidden_layers)
    except (ConfigError, TypeError) as error:
        raise ConfigError(
            f"the model's config.json has a {SCHEDULE_KEY} that does not fit{_writer(config)}: {error}. Tune "
            "the model again with this version, or delete the entry to run it dense"
        ) from error
    return found


def _writer(config: Any) -> str:
    origin = getattr(config, ORIGIN_KEY, None)
    version = origin.get("spatten") if isinstance(origin, dict) else None
    return f", written by spatten {version}" if version else ", and no tuned model's origin beside it"
