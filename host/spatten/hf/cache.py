# SPDX-License-Identifier: BSD-2-Clause
"""K and V of a generation in device memory, behind the cache object that transformers hands around."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer

from ..errors import ModelError
from .cascade import LiveSequence
from .interface import layer_in_flight


class DeviceCache:
    """The sequences of a batch.

    Attributes
    ----------
    rows : one sequence for each row of the batch.
    columns : tokens fed so far, padding included; transformers counts positions by it.
    steps : passes done.
    """

    def __init__(self, rows: list[LiveSequence]) -> None:
        self.rows, self.columns, self.steps = rows, 0, 0

    def select(self, indices: Iterable[int]) -> None:
        """Row ``i`` goes on from what row ``indices[i]`` was; a row that goes on twice is copied."""
        chosen, taken = [], set()
        for index in indices:
            chosen.append(self.rows[index].copy() if index in taken else self.rows[index])
            taken.add(index)
        for index, row in enumerate(self.rows):
            if index not in taken:
                row.free()
        self.rows = chosen

    def free(self) -> None:
        """Give all device memory back."""
        for row in self.rows:
            row.free()
        self.rows = []


class DeviceCacheLayer(CacheLayerMixin):
    """One layer as transformers sees it: it knows lengths and holds no tensors.

    All layers share one :class:`DeviceCache`; what changes the batch is done once, by layer 0.
    """

    is_sliding = False
    is_compileable = False
    is_croppable = False

    def __init__(self, store: DeviceCache, layer: int) -> None:
        super().__init__()
        self.store, self.layer = store, layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing is held here."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The new rows as they are: the attention function stores them."""
        if layer_in_flight() is None:
            raise ModelError(
                f"past_key_values keeps its {self.store.columns} tokens in device memory, and the model that "
                "is called with it is not attached; attach it, or start again with an empty cache"
            )
        return key_states, value_states

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the mask: every token fed, whether or not its row lives."""
        return self.store.columns + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens fed so far, padding and pruned ones included."""
        return self.store.columns

    def get_max_length(self) -> int:
        """Slots of a sequence."""
        return int(self.store.rows[0].stored.shape[1]) if self.store.rows else -1

    def reset(self) -> None:
        """Not supported: a new generation makes a new cache."""
        raise _unsupported("reset")

    def crop(self, tokens_to_remove: int) -> None:
        """Not supported: importance that a token has given cannot be taken back."""
        raise _unsupported("crop (assisted generation)")

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Beam search: row ``i`` goes on from row ``beam_idx[i]``."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row ``repeats`` times."""
        if self.layer == 0:
            self.store.select(index for index in range(len(self.store.rows)) for _ in range(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Only these rows, in this order."""
        if self.layer == 0:
            chosen = torch.arange(len(self.store.rows))[indices.cpu()]
            self.store.select(chosen.tolist())


def _unsupported(what: str) -> ModelError:
    return ModelError(
        f"{what} is not supported by a cache in device memory; generate without it, or start a new generation"
    )


def store_of(cache: Any) -> DeviceCache | None:
    """The store behind a cache that was adopted before, else ``None``."""
    layers = getattr(cache, "layers", None)
    return layers[0].store if layers and isinstance(layers[0], DeviceCacheLayer) else None


def adopt(cache: Cache, store: DeviceCache, layers: int) -> None:
    """Put ``store`` behind an empty dynamic cache, which goes back to the caller through the model's output.

    Raises
    ------
    ModelError : the cache holds rows of other attention already, or is of a kind that cannot grow.
    """
    plain = isinstance(cache, Cache) and all(type(layer) is DynamicLayer for layer in cache.layers)
    offloaded = getattr(cache, "offloading", False)
    if not plain or offloaded:
        kind = f"{'n offloaded' if offloaded else ''} {type(cache).__name__}"
        raise ModelError(
            f"past_key_values is a{kind}; expected a DynamicCache that is not offloaded, or none: "
            "generate() makes one"
        )
    if cache.get_seq_length() > 0:
        raise ModelError(
            f"past_key_values holds {cache.get_seq_length()} tokens of another attention; start the "
            "generation again with an empty cache"
        )
    cache.layers = [DeviceCacheLayer(store, layer) for layer in range(layers)]
    cache.layer_class_to_replicate = None
