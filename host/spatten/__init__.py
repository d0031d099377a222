# SPDX-License-Identifier: BSD-2-Clause
"""Hugging Face models with their attention on a SpAtten accelerator, or on its bit-exact software model.

    import spatten
    model = AutoModel.from_pretrained(folder, attn_implementation="spatten")

or, for a schedule of one's own and a record of what was pruned and read::

    with spatten.attach(model, schedule="paper-bert") as session:
        model(**inputs)
    print(session.record.ratio(16))

Importing this package is cheap: torch and transformers are imported when something needs them, and the name
``"spatten"`` becomes known to transformers as soon as transformers itself is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

from .presets import PRESETS, preset
from .schedule import Schedule, load_schedule, paper_schedule

if TYPE_CHECKING:
    from .hf import Session, attach, survivors

__all__ = [
    "PRESETS",
    "Schedule",
    "Session",
    "attach",
    "load_schedule",
    "paper_schedule",
    "preset",
    "survivors",
]


@wrapt.when_imported("transformers.modeling_utils")
def _make_known(_: Any) -> None:
    import_module(".hf", __name__)  # where it is not the importer itself, half done: either way it registers


def __getattr__(name: str) -> Any:
    if name in ("Session", "attach", "survivors"):
        return getattr(import_module(".hf", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
