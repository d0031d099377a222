# SPDX-License-Identifier: BSD-2-Clause
"""What quantization and pruning cost in quality: the same tasks and classifiers, attention row by row.

Data (:mod:`data`, :mod:`mail`) make tasks (:mod:`tasks`); rows (:mod:`rows`) say how attention runs; a
subject (:mod:`subject`) is a model with such attention; the study (:mod:`study`) runs every task with every
row and keeps the scores of single examples, so that :mod:`metrics` compares a row with the float baseline
example by example. :mod:`report` and :mod:`plot` show it.
"""
