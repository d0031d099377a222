# SPDX-License-Identifier: BSD-2-Clause
"""BERT and GPT-2 with cascade pruning in float64 NumPy, straight over the weights of a model.

The reference for pruned runs. It is written from the models' papers, from the paper on SpAtten and from
sections 4 to 7 of ``docs/contract.md``, in floats: no quantization, no packing, no device, one sequence at a
time. Of the package it takes a schedule's counts (:class:`spatten.schedule.LayerPlan`) and nothing else.

Floats and 12-bit integers may rank two tokens of almost equal importance differently, and then all that
follows differs. So who survives is decided by an exchangeable :class:`Chooser`: the plain one goes by the
reference's own importance; :class:`Following` goes the device's way and measures how bad each of its choices
is in the reference's eyes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spatten.record import LayerRecord
from spatten.schedule import LayerPlan

Array = NDArray[np.float64]
Ids = NDArray[np.intp]
Places = Mapping[tuple[str, int, int], Iterable[int]]


class Chooser:
    """Keeps the greater importance, protected ids first, then the lower id."""

    def keep(
        self, place: tuple[str, int, int], ids: Ids, importance: Array, count: int, protected: frozenset[int]
    ) -> Ids:
        """``count`` of ``ids``, ascending; ``place`` is (tokens or heads, step, layer to come)."""
        order = sorted(ids.tolist(), key=lambda i: (i not in protected, -importance[i], i))
        return np.array(sorted(order[:count]))


class Following(Chooser):
    """Keeps what a device kept; ``worst`` is the greatest share by which it dropped an id too great."""

    def __init__(self, chosen: Places) -> None:
        self.chosen, self.worst = chosen, 0.0

    def keep(
        self, place: tuple[str, int, int], ids: Ids, importance: Array, count: int, protected: frozenset[int]
    ) -> Ids:
        kept = np.array(sorted(self.chosen[place]))
        assert len(kept) == count, (place, kept, count)
        assert np.isin(kept, ids).all(), (place, kept, ids)
        assert protected.intersection(ids.tolist()) <= set(kept.tolist()) or set(kept.tolist()) <= protected
        dropped, free = np.setdiff1d(ids, kept), [i for i in kept if i not in protected]
        if len(dropped) and free:
            ratio = importance[dropped].max() / max(importance[free].min(), 1e-12)
            self.worst = max(self.worst, ratio - 1.0)
        return kept


def chosen_by_device(records: Iterable[LayerRecord], row: int = 0) -> Places:
    """Who went on to each layer of each step of one row of a batch, as a session's record has it."""
    own = [record for record in records if record.row == row]
    entering = {("tokens", one.step, 0): one.keys[: -one.queries] for one in own if one.layer == 0}
    tokens = {("tokens", one.step, one.layer + 1): one.survivors for one in own}
    return entering | tokens | {("heads", one.step, one.layer): one.heads for one in own}


@dataclass
class Layer:
    """Who was alive in one layer of one pass."""

    keys: Ids
    queries: Ids
    heads: Ids


@dataclass
class Pass:
    """``hidden [tokens, width]``: final states; a pruned token has that of the last block it was in."""

    hidden: Array
    layers: list[Layer] = field(default_factory=list)


class Weights:
    """A state dict in float64, without the prefix of the base model."""

    def __init__(self, model: Any) -> None:
        prefix = model.base_model_prefix + "."
        self._of = {k.removeprefix(prefix): v.double().numpy() for k, v in model.state_dict().items()}
        self.eps = getattr(model.config, "layer_norm_eps", None) or model.config.layer_norm_epsilon

    def __getitem__(self, name: str) -> Array:
        return self._of[name]

    def linear(self, x: Array, name: str) -> Array:
        return x @ self[name + ".weight"].T + self[name + ".bias"]

    def transposed(self, x: Array, name: str) -> Array:
        return x @ self[name + ".weight"] + self[name + ".bias"]

    def norm(self, x: Array, name: str) -> Array:
        spread = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        return (x - x.mean(axis=-1, keepdims=True)) / spread * self[name + ".weight"] + self[name + ".bias"]


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_new(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attend(
    q: Array, k: Array, v: Array, visible: NDArray[np.bool_], values: int, share: float
) -> tuple[Array, Array]:
    """Outputs and probabilities of ``[heads, tokens, D]``.

    Only the ``values`` likeliest rows of V count, and of these those above a share of the likeliest.
    """
    scores = np.where(visible, q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probability = weights / weights.sum(axis=-1, keepdims=True)
    rank = np.argsort(np.argsort(-probability, axis=-1, kind="stable"), axis=-1, kind="stable")
    return np.where((rank < values) & (weights >= share), probability, 0.0) @ v, probability


def by_head(x: Array, heads: int) -> Array:
    """``[tokens, width]`` to ``[heads, tokens, D]``."""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


def start(plan: LayerPlan, values: Array) -> Array:
    """What tokens begin with, by all their values ``[heads, tokens, D]`` in the first layer."""
    lengths = np.linalg.norm(np.moveaxis(values, 1, 0).reshape(values.shape[1], -1), axis=1)
    return plan.schedule.prior * len(values) * lengths / lengths.mean()


def front_and_back(plan: LayerPlan, length: int, last: int) -> frozenset[int]:
    schedule = plan.schedule
    back = range(max(0, length - max(schedule.protect_last, last)), length)
    return frozenset(range(min(schedule.protect_first, length))) | frozenset(back)


def bert(model: Any, ids: Ids, plan: LayerPlan, chooser: Chooser | None = None) -> Pass:
    """One text through a BERT. A token pruned by a layer's attention is gone from that layer's FFN on."""
    w, config, chooser = Weights(model), model.config, chooser or Chooser()
    tokens = np.arange(length := len(ids))
    heads = np.arange(total := config.num_attention_heads)
    embedded = (
        w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][tokens]
    )
    x = w.norm(embedded + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    token_importance, head_importance, protected = (
        np.zeros(length),
        np.zeros(total),
        front_and_back(plan, length, 0),
    )
    done = Pass(x.copy())
    for layer in range(config.num_hidden_layers):
        at = f"encoder.layer.{layer}."
        done.layers.append(Layer(tokens, tokens, heads))
        q, k, v = (
            by_head(w.linear(x, f"{at}attention.self.{n}"), total)[heads] for n in ("query", "key", "value")
        )
        if layer == 0:
            token_importance += start(plan, v)
        values = plan.values(layer, len(tokens))
        everything = np.ones((len(tokens), len(tokens)), bool)
        out, probability = attend(q, k, v, everything, values, plan.value_shares[layer])
        token_importance[tokens] += probability.sum(axis=(0, 1))
        head_importance[heads] += np.abs(out).sum(axis=(1, 2))
        context = np.zeros((len(tokens), total, out.shape[-1]))
        context[:, heads] = out.swapaxes(0, 1)
        mixed = w.linear(context.reshape(len(tokens), -1), f"{at}attention.output.dense")
        x = w.norm(x + mixed, f"{at}attention.output.LayerNorm")
        if layer + 1 < config.num_hidden_layers:
            before, count = tokens, min(len(tokens), plan.tokens(layer + 1, length))
            tokens = chooser.keep(("tokens", 0, layer + 1), tokens, token_importance, count, protected)
            count = min(len(heads), plan.heads(layer + 1, total))
            heads = chooser.keep(("heads", 0, layer + 1), heads, head_importance, count, frozenset())
            x = x[np.isin(before, tokens)]
        inner = gelu(w.linear(x, f"{at}intermediate.dense"))
        x = w.norm(x + w.linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        done.hidden[tokens] = x
    return done


class Gpt2:
    """One text through a GPT-2, prompt first and then token by token: K and V rows stay once written.

    Importance adds over steps. A step starts from the most important ``tokens`` of layer 0 and narrows from
    layer to layer; a later layer has no row of a token that an earlier pass pruned before it.
    """

    def __init__(self, model: Any, plan: LayerPlan, chooser: Chooser | None = None) -> None:
        self.w, self.config, self.plan = Weights(model), model.config, plan
        self.chooser = chooser or Chooser()
        layers, total = self.config.n_layer, self.config.n_head
        dim, most = self.config.n_embd // total, self.config.n_positions
        self.k, self.v = np.zeros((2, layers, total, most, dim))
        self.stored = np.zeros((layers, most), bool)
        self.heads = {0: np.arange(total)}
        self.token_importance, self.head_importance = np.zeros(most), np.zeros(total)
        self.length = self.step = 0

    def feed(self, ids: Ids) -> Pass:
        """The next tokens; states after the last norm."""
        w, plan, total = self.w, self.plan, self.config.n_head
        first, self.length = self.length, self.length + len(ids)
        queries = np.arange(first, self.length)
        prunes = self.step > 0 or plan.schedule.prune_prefill
        protected = front_and_back(plan, self.length, len(queries) if self.step else 1)
        keys, heads = np.concatenate([self._entering(first, len(queries)), queries]), np.arange(total)
        x, done = w["wte.weight"][ids] + w["wpe.weight"][queries], Pass(np.zeros(0))
        last_seen = x.copy()
        self.token_importance[keys] *= plan.schedule.decay if self.step else 1.0
        for layer in range(self.config.n_layer):
            at = f"h.{layer}."
            done.layers.append(Layer(keys, queries, heads))
            qkv = by_head(w.transposed(w.norm(x, at + "ln_1"), at + "attn.c_attn"), 3 * total)
            q, k, v = qkv.reshape(3, total, len(queries), -1)
            self.k[layer][:, queries], self.v[layer][:, queries] = k, v
            self.stored[layer, queries] = True
            if layer == self.step == 0:
                self.token_importance[queries] += start(plan, v)
            rows = np.ix_(heads, keys)
            values = plan.values(layer, len(keys)) if prunes else len(keys)
            share = plan.value_shares[layer] if prunes else 0.0
            visible = keys <= queries[:, None]
            cached = self.k[layer][rows], self.v[layer][rows]
            out, probability = attend(q[heads], *cached, visible, values, share)
            self.token_importance[keys] += probability.sum(axis=(0, 1))
            self.head_importance[heads] += np.abs(out).sum(axis=(1, 2))
            context = np.zeros((len(queries), total, out.shape[-1]))
            context[:, heads] = out.swapaxes(0, 1)
            x = x + w.transposed(context.reshape(len(queries), -1), at + "attn.c_proj")
            inner = gelu_new(w.transposed(w.norm(x, at + "ln_2"), at + "mlp.c_fc"))
            x = x + w.transposed(inner, at + "mlp.c_proj")
            last_seen[queries - first] = x
            if prunes and layer + 1 < self.config.n_layer:
                before, (keys, heads) = queries, self._going_on(layer + 1, keys, heads, first, protected)
                queries = keys[keys >= first]
                x = x[np.isin(before, queries)]
        done.hidden, self.step = w.norm(last_seen, "ln_f"), self.step + 1
        return done

    def _entering(self, first: int, fresh: int) -> Ids:
        """Older tokens that layer 0 sees."""
        older, count = np.flatnonzero(self.stored[0, :first]), self.plan.tokens(0, self.length) - fresh
        if not self.step or count >= len(older):
            return older
        protected = frozenset(range(self.plan.schedule.protect_first))
        place, count = ("tokens", self.step, 0), max(count, len(protected & set(older.tolist())))
        return self.chooser.keep(place, older, self.token_importance, count, protected)

    def _going_on(
        self, layer: int, keys: Ids, heads: Ids, first: int, protected: frozenset[int]
    ) -> tuple[Ids, Ids]:
        """Keys and heads of the next layer; heads are chosen once for a whole generation."""
        count = max(self.plan.tokens(layer, self.length), len(protected & set(keys.tolist())))
        kept = self.chooser.keep(
            ("tokens", self.step, layer), keys, self.token_importance, min(len(keys), count), protected
        )
        if layer not in self.heads:
            count = min(len(heads), self.plan.heads(layer, len(self.head_importance)))
            place = ("heads", self.step, layer)
            self.heads[layer] = self.chooser.keep(place, heads, self.head_importance, count, frozenset())
        return kept[(kept >= first) | self.stored[layer, kept]], self.heads[layer]
