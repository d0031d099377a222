# SPDX-License-Identifier: BSD-2-Clause
"""Models loaded with ``attn_implementation="spatten"`` are attached when they are first called.

transformers hands the name of an attention to modules, not to models, and pruning concerns whole blocks. So
each transformers model is looked at when it is about to run (:mod:`watch`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers.modeling_utils import PreTrainedModel

from spatten_drivers import open_device

from .interface import NAME, register_functions
from .own import own_schedule
from .session import Session, session_of
from .watch import unwatched, watch

#: Device that models are attached to by themselves.
DEVICE_VARIABLE = "SPATTEN_DEVICE"


def register() -> None:
    """Make attention and mask known to transformers, and attach models that ask for them."""
    register_functions()
    watch(_attach_on_first_call)


@contextmanager
def auto_attach_disabled() -> Iterator[None]:
    """No model is looked at inside: what runs and is timed there is transformers alone."""
    with unwatched():
        yield


def _attach_on_first_call(module: nn.Module, _: Any) -> None:
    if not isinstance(module, PreTrainedModel):
        return
    wanted, session = module.config._attn_implementation == NAME, session_of(module.base_model)
    if wanted and session is None:
        _attach(module)
    elif session is not None and session.automatic and not wanted:
        session.detach()


def _attach(model: PreTrainedModel) -> None:
    device = open_device(os.environ.get(DEVICE_VARIABLE, "auto"))
    Session(model, own_schedule(model.config), device, closes_device=True, automatic=True)._enter_model()
