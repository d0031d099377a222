# SPDX-License-Identifier: BSD-2-Clause
"""How `gpt2-prose`, the small GPT-2 that ships with this project, is made.

The command line is `scripts/train_gpt2.py`.
"""
