# SPDX-License-Identifier: BSD-2-Clause
"""Recordings of what a device was asked and answered, their replay, and comparison with the software model.

:class:`Recorder` and :class:`Shadow` are devices around a device (:mod:`watch`); :func:`replay` plays a file.
``docs/recording.md`` describes the file.
"""

from .reader import RecordedJob, Recording
from .recorder import Recorder
from .replay import ReplayReport, replay
from .shadow import Shadow

__all__ = ["RecordedJob", "Recorder", "Recording", "ReplayReport", "Shadow", "replay"]
