# SPDX-License-Identifier: BSD-2-Clause
"""Fine-tuning with pruning in the loop: model, examples and budget in, a model folder with a schedule out.

* :mod:`surrogate` does in torch, with gradients, what the device does; :mod:`live` decides who survives,
  :mod:`planes` quantizes, :mod:`rules` says what importance is, :mod:`agreement` compares with the device.
* :mod:`data` and :mod:`tasks` are the examples and what is asked of them; :mod:`trainer` is transformers'.
* :mod:`knobs`, :mod:`budget` and :mod:`search` find a schedule; :mod:`tuning` is the whole way.
* :mod:`measure` scores on the device; :mod:`result` saves, :mod:`plot` draws.
"""

from .result import Outcome
from .surrogate import surrogate
from .trainer import Recipe
from .tuning import Effort, tune

__all__ = ["Effort", "Outcome", "Recipe", "surrogate", "tune"]
