# SPDX-License-Identifier: BSD-2-Clause
"""Quality over bytes, before and after tuning: tasks, budgets and seeds, point by point, and their page."""
