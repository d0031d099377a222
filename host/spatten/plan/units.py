# SPDX-License-Identifier: BSD-2-Clause
"""Cycles that each unit of the core needs for a row of so many keys.

Each is what the docstring of that unit states; a test compares those that the gateware can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from spatten_drivers import AcceleratorConfig

#: Rows (head, query) that are in flight: fpga/spatten_fpga/core/rows.py.
SLOTS = 4
#: Beats that may be asked for and not delivered: fpga/spatten_fpga/core/port.py.
OUTSTANDING = 64
#: A row of the divider: fpga/spatten_fpga/core/reciprocal.py.
DIVIDER_ROW = 22
#: topk_bins.py, topk_select.py and topk_emit.py: bits of a digit, cycles from the lanes to the bins, widest
#: word of a sweep, and what a prefix stage joins.
DIGIT_BITS, COUNTING, SWEEP_LANES, PREFIX_RADIX = 4, 4, 64, 4
WEIGHT_BITS = 16
#: What tokens are ranked by after a job: importance and the protected bit (finish_tokens.py).
RANK_BITS = 33


@dataclass(frozen=True)
class Units:
    """Cycles of a row at one head dimension.

    Parameters
    ----------
    config : of the core.
    head_dim : elements of a row.
    """

    config: AcceleratorConfig
    head_dim: int

    @property
    def keys_a_word(self) -> int:
        """Keys of a word of an array, 0 where a key takes several words."""
        return self.config.lanes // _padded(self.head_dim)

    @property
    def lanes_of_softmax(self) -> int:
        """Weights that softmax makes a cycle: the keys of a word at the smallest head dimension."""
        return max(1, self.config.lanes // min(_padded(dim) for dim in self.config.head_dims))

    @property
    def outputs(self) -> int:
        """Output elements that leave the probability x V array a cycle."""
        return max(1, self.config.lanes // 128)

    def words(self, keys: int) -> int:
        """Words of an array: its cycles for a pass over so many keys."""
        together = self.keys_a_word
        return -(-keys // together) if together else keys * -(-self.head_dim // self.config.lanes)

    @property
    def score_gap(self) -> int:
        """Cycles in which the Q x K array waits between two passes.

        The score buffer takes a new pass 4 cycles after the end of the last, and one more for each halving
        of its maximum. What the array needs for a word of scores, and two registers before it, hide of that.
        """
        between = max(1, self.words(self.lanes_of_softmax))
        return max(0, 4 + (self.lanes_of_softmax - 1).bit_length() - 2 * (between - 1))

    def softmax(self, keys: int) -> int:
        """Weights of a pass, and as many cycles for the importance of the keys."""
        return -(-keys // self.lanes_of_softmax)

    @property
    def drain(self) -> int:
        """A row of outputs leaves the probability x V array."""
        return self.head_dim // self.outputs + 1

    def topk_search(self, keys: int) -> int:
        """From the first weight of a row into the top-k engine to the k-th greatest known."""
        return _search(keys, self.config.topk_parallelism, WEIGHT_BITS, self.config.max_sequence)

    def topk_row(self, keys: int) -> int:
        """From row to row of the top-k engine, in the long run."""
        marking = -(-keys // self.config.topk_parallelism) + _prefix(self.config.topk_parallelism) + 4
        return max(self.topk_search(keys), marking)

    def token_search(self, keys: int) -> int:
        """What is left of the top-k of tokens when the last importance is loaded."""
        parallel = self._tokens_a_cycle
        return _search(keys, parallel, RANK_BITS, self.config.max_sequence) - -(-keys // parallel)

    def token_list(self, keys: int, kept: int) -> float:
        """A cycle for each survivor, and for each beat of the search that has none of them."""
        parallel = self._tokens_a_cycle
        return kept + -(-keys // parallel) * (1 - kept / keys) ** parallel

    @property
    def _tokens_a_cycle(self) -> int:
        return max(1, min(4, self.config.topk_parallelism // 4))

    @property
    def buffer_words(self) -> int:
        """Words of the buffer of K, and of V."""
        rows = self.config.kv_buffer_rows
        return max(1, *(Units(self.config, dim).words(rows) for dim in self.config.head_dims))


def _padded(dim: int) -> int:
    """96 elements take the place of 128."""
    return 1 << (dim - 1).bit_length()


def _prefix(parallel: int) -> int:
    stages = 0
    while PREFIX_RADIX**stages < parallel:
        stages += 1
    return stages


def _search(n: int, parallel: int, width: int, depth: int) -> int:
    """A beat a cycle while the set is loaded, then a sweep for each further digit."""
    together = max(1, min(3, SWEEP_LANES // parallel, -(-depth // parallel))) * parallel
    sweeps = -(-width // DIGIT_BITS) - 1
    return -(-n // parallel) + sweeps * (-(-n // together) + COUNTING + 1) + COUNTING + 3
