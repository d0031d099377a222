# SPDX-License-Identifier: BSD-2-Clause
"""Attention of transformers' BERT and GPT-2 on a SpAtten device, through public extension points.

* :mod:`interface` is what transformers calls: the attention function and the mask function.
* :mod:`session` puts a model's blocks under a :class:`Session`, and takes them out again without a trace.
* :mod:`forward` takes one batch through the layers; :mod:`cascade` decides for each sequence who is alive.
* :mod:`survivors` tells which tokens lived to the end, for what pools them.
* :mod:`cache` keeps K and V of a generation in device memory behind transformers' own cache object.
* :mod:`auto` attaches a model that was loaded with ``attn_implementation="spatten"`` when it is first called.

Importing this package makes the name known to transformers.
"""

from .auto import auto_attach_disabled, register
from .interface import NAME
from .session import Session, attach
from .survivors import survivors

__all__ = ["NAME", "Session", "attach", "auto_attach_disabled", "survivors"]

register()
