# SPDX-License-Identifier: BSD-2-Clause
"""``python -m spatten`` is the command ``spatten``."""

from .cli import main

main()
