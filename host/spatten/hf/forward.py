# SPDX-License-Identifier: BSD-2-Clause
"""One batch through the layers of a model: only live tokens are computed, side by side without padding.

Between two blocks hidden states keep the shape that transformers expects. Inside a block the live tokens of
all rows stand packed, ``[1, tokens, hidden]``: everything but attention works token by token, and attention
is ours. A token that was pruned keeps the hidden state of the last block that computed it; padding keeps what
came in.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from spatten_drivers import Accelerator, LayerResult

from ..errors import InputError, ModelError
from ..record import RunRecord, layer_record
from .cache import DeviceCache
from .cascade import Cascade

_blas = ThreadpoolController().select(user_api="blas")


class _Output(NamedTuple):
    """Attention of one sequence: its place among the packed tokens, its heads, ``[tokens, heads, D]``."""

    part: slice
    heads: NDArray[np.intp]
    rows: NDArray[np.float32]


class ForwardPass:
    """All sequences of a batch on their way through the layers.

    Parameters
    ----------
    accelerator : where attention runs.
    record : told of every job.
    store : the sequences, rows already in it or not.
    shape : of the hidden states, ``[batch, columns, hidden]``.
    columns : for each row the columns that hold a token, as :func:`token_columns` finds them.

    Attributes
    ----------
    heads : heads alive in at least one row, in the block that runs.
    """

    heads: NDArray[np.intp]

    def __init__(
        self,
        accelerator: Accelerator,
        record: RunRecord,
        store: DeviceCache,
        shape: torch.Size,
        columns: list[NDArray[np.intp]],
    ) -> None:
        self._accelerator, self._record, self._store = accelerator, record, store
        self._shape, self._columns = shape, columns
        self._cascades = [Cascade(row, len(own)) for row, own in zip(store.rows, columns, strict=True)]
        self._everywhere = np.arange(shape[0] * shape[1])
        self._before = self._everywhere
        self._layer = 0
        # Setting a limit takes longer than asking whether it holds already.
        self._blas_has_threads = any(library.num_threads != 1 for library in _blas.lib_controllers)

    def pack(self, hidden: torch.Tensor) -> torch.Tensor:
        """The live tokens of ``hidden [batch, columns, hidden]``."""
        self._before = self._places()
        live = [cascade.heads for cascade in self._cascades]
        self.heads = np.unique(np.concatenate(live)) if len(live) > 1 else live[0]
        flat = hidden.reshape(1, -1, hidden.shape[-1])
        return flat if self._is_whole(self._before) else flat[:, torch.from_numpy(self._before)]

    def unpack(self, hidden: torch.Tensor, computed: torch.Tensor) -> torch.Tensor:
        """``hidden`` with the tokens that a block computed put back at their places."""
        places = self._before if computed.shape[1] == len(self._before) else self._places()
        if self._is_whole(places):
            return computed.reshape(hidden.shape)
        out = hidden.reshape(-1, hidden.shape[-1]).clone()
        out[torch.from_numpy(places)] = computed[0]
        return out.view(hidden.shape)

    def survivors(self, computed: torch.Tensor) -> torch.Tensor:
        """Of the packed tokens of this block those that survived its attention."""
        places = self._places()
        if len(places) == computed.shape[1]:
            return computed
        return computed[:, torch.from_numpy(np.flatnonzero(np.isin(self._before, places)))]

    def alive(self) -> torch.Tensor:
        """``bool [batch, columns]``: tokens that live in the block that runs, or ran last."""
        out = np.zeros(len(self._everywhere), bool)
        out[self._places()] = True
        return torch.from_numpy(out).view(self._shape[:2])

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of packed ``[1, heads, tokens, D]``, one job a sequence; ``[1, tokens, heads, D]``."""
        q, k, v = _as_floats(query, key, value)
        parts, outputs = self._parts(), list[_Output]()
        with self._one_blas_thread():
            tickets = [self._submit(row, q[:, part], k[:, part], v[:, part], scaling) for row, part in parts]
            for (row, part), ticket in zip(parts, tickets, strict=True):
                result = self._accelerator.wait(ticket)
                outputs.append(_Output(part, self._cascades[row].heads, result.output.swapaxes(0, 1)))
                self._finish(row, result)
        self._layer += 1
        out = _side_by_side(outputs, (q.shape[1], q.shape[0], q.shape[2]))
        answer = torch.from_numpy(out[None]).to(query.device, query.dtype)
        watched = next((part for part in (query, key, value) if part.requires_grad), None)
        return answer if watched is None else _InferenceOnly.apply(watched, answer)

    def report(self) -> None:
        """Add to the record what was uploaded, clamped and rescaled since the last report."""
        for row in self._store.rows:
            row.report(self._record)

    def end(self) -> None:
        """The batch is through: the next pass is one step later."""
        self._store.columns += self._shape[1]
        self._store.steps += 1

    def _one_blas_thread(self) -> AbstractContextManager[Any]:
        """The emulator's products are small: on several threads NumPy's pool would spin against torch's."""
        return _blas.limit(limits=1) if self._blas_has_threads else nullcontext()

    def _submit(
        self,
        row: int,
        q: NDArray[np.float32],
        k: NDArray[np.float32],
        v: NDArray[np.float32],
        scaling: float,
    ) -> Any:
        cascade = self._cascades[row]
        live = slice(None) if len(cascade.heads) == len(q) else cascade.heads
        cascade.write(self._layer, k[live], v[live])
        return self._accelerator.submit(cascade.live.sequence, cascade.request(self._layer, q[live], scaling))

    def _finish(self, row: int, result: LayerResult) -> None:
        self._record.layers.append(layer_record(self._store.steps, row, self._layer, result))
        self._cascades[row].advance(self._layer, result)

    def _parts(self) -> list[tuple[int, slice]]:
        """Rows that have live tokens here, each with its part of the packed tokens."""
        ends = accumulate((len(cascade.queries) for cascade in self._cascades), initial=0)
        return [(row, slice(a, b)) for row, (a, b) in enumerate(pairwise(ends)) if b > a]

    def _places(self) -> NDArray[np.intp]:
        """Where the live tokens of all rows stand in the flattened batch."""
        if sum(len(cascade.queries) for cascade in self._cascades) == len(self._everywhere):
            return self._everywhere
        width = self._shape[1]
        pairs = zip(self._cascades, self._columns, strict=True)
        return np.concatenate([row * width + own[c.queries - c.first] for row, (c, own) in enumerate(pairs)])

    def _is_whole(self, places: NDArray[np.intp]) -> bool:
        return len(places) == len(self._everywhere)


def _as_floats(*parts: torch.Tensor) -> list[NDArray[np.float32]]:
    """``[heads, tokens, D]`` of the only row of packed tensors."""
    if all(part.dtype is torch.float32 and part.is_cpu and not part.requires_grad for part in parts):
        return [part.numpy()[0] for part in parts]  # as below, in a tenth of the time
    return [part.float().numpy(force=True)[0] for part in parts]


def _side_by_side(outputs: list[_Output], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """``[tokens, heads, D]`` of all sequences, with zeros where a head is pruned."""
    if len(outputs) == 1 and outputs[0].rows.shape == shape:
        return outputs[0].rows
    out = np.zeros(shape, np.float32)
    for part, heads, rows in outputs:
        out[part, heads] = rows
    return out


def token_columns(shape: torch.Size, mask: torch.Tensor | None, store: DeviceCache) -> list[NDArray[np.intp]]:
    """For each row of ``[batch, columns, hidden]`` the columns that hold a token rather than padding.

    Raises
    ------
    InputError : the mask has another shape, or a row holds no token at all.
    """
    batch, width = shape[0], shape[1]
    if mask is None:
        return [np.arange(width)] * batch
    expected = (batch, store.columns + width)
    if tuple(mask.shape) != expected:
        raise InputError(
            f"attention_mask is {list(mask.shape)}; expected {list(expected)}: a row for each text, a "
            "column for each token so far, 0 for padding"
        )
    real = mask[:, -width:].cpu().numpy().astype(bool)
    columns = [np.flatnonzero(row) for row in real]
    if store.steps == 0 and any(not len(row) for row in columns):
        empty = [row for row, own in enumerate(columns) if not len(own)]
        raise InputError(
            f"row(s) {empty} of the batch are padding only; expected a token in each. Leave them out"
        )
    return columns


class _InferenceOnly(torch.autograd.Function):
    """Passes a device's answer on; asking for its gradient is an error, not a silent zero."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
        return answer.view_as(answer)

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        raise ModelError(
            "attention on a SpAtten device has no gradient; train with attn_implementation='eager' or 'sdpa'"
        )
