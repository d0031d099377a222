# SPDX-License-Identifier: BSD-2-Clause
"""A model attached to a device: its blocks run packed and pruned until it is detached."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.output_capturing import _active_collector

from spatten_drivers import Accelerator, Device, Shape, open_device
from spatten_drivers.errors import ConfigError
from spatten_drivers.sequence import check_shape

from ..errors import InputError, ModelError
from ..presets import OWN, chosen_schedule, preset
from ..record import RunRecord
from ..schedule import LayerPlan, Schedule
from .cache import DeviceCache, adopt, store_of
from .cascade import LiveSequence
from .families import FAMILIES, family_of
from .forward import ForwardPass, token_columns
from .heads import LiveProjection
from .interface import NAME, in_flight, register_functions
from .own import own_schedule
from .survivors import leave_survivors
from .watch import unwatched_if_alone

_KEY = "_spatten_session"


def attach(
    model: PreTrainedModel,
    *,
    schedule: str | Schedule = OWN,
    device: str | Device = "auto",
    kernel: str = "auto",
    require_board: bool = False,
) -> Session:
    """Attach a BERT or a GPT-2, with any head, to a device.

    Parameters
    ----------
    model : an unmodified transformers model in evaluation mode.
    schedule : a preset's name, a ``.toml`` or ``.json`` file, or a schedule; ``own`` is what the model's
        config holds, or ``dense`` if it holds none.
    device : an open device, or what :func:`spatten_drivers.open_device` takes.
    kernel, require_board : as for :func:`spatten_drivers.open_device`; of no use with an open device.

    Returns
    -------
    Session : a context manager; leaving it, or :meth:`Session.detach`, puts the model back as it was.

    Raises
    ------
    ModelError : the model is of another kind, or attached already.
    OperandError : the device does not support its head dimension or number of heads.
    ConfigError : the schedule does not fit the model.
    """
    if not isinstance(model, PreTrainedModel):
        raise ModelError(
            f"{type(model).__name__} is no transformers model; expected a model of {sorted(FAMILIES)}"
        )
    current = session_of(model.base_model)
    if current is not None and not current.automatic:
        raise ModelError(f"{type(model).__name__} is attached to {current.device} already; detach() it first")
    owned = not isinstance(device, Device)
    target = open_device(device, kernel=kernel, require_board=require_board) if owned else device
    try:
        made = Session(model, schedule, target, closes_device=owned)
    except BaseException:
        if owned:
            target.close()
        raise
    if current is not None:
        current.detach()
    made._enter_model()
    return made


def session_of(base_model: Any) -> Session | None:
    """The session that a base model is attached by."""
    found: Session | None = base_model.__dict__.get(_KEY)
    return found


class Session:
    """One model on one device, from :func:`attach` to :meth:`detach`.

    Attributes
    ----------
    device : where attention runs.
    record : every layer job since the start or the last :meth:`reset_record`.
    automatic : attached at the first call of a model loaded with ``attn_implementation="spatten"``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        schedule: str | Schedule,
        device: Device,
        *,
        closes_device: bool = False,
        automatic: bool = False,
    ) -> None:
        self.model, self.device, self.automatic = model, device, automatic
        self._base, self._closes_device = model.base_model, closes_device
        self._family, self._config = family_of(self._base), self._base.config
        if schedule == OWN:
            schedule = own_schedule(self._config)
        self._schedule = chosen_schedule(schedule) if isinstance(schedule, str) else schedule
        # Plain numbers: transformers looks into its config far more slowly, and blocks ask at every token.
        self._layers, self._heads = self._config.num_hidden_layers, self._config.num_attention_heads
        self._dim = self._config.hidden_size // self._heads
        self._positions = self._config.max_position_embeddings
        plan = self._plan(length=1)  # a schedule that does not fit is refused now, not in the first layer
        check_shape(device, self._shape(slots=1), plan.schedule.quantization)
        _check_value_share(device, plan)
        self._accelerator = Accelerator(device)
        self._undo: list[Callable[[], None]] = []
        self._pass: ForwardPass | None = None
        self._temporary: DeviceCache | None = None
        self.reset_record()

    @property
    def schedule_name(self) -> str:
        """What reports call the schedule that runs."""
        given = self._schedule
        return given.name if isinstance(given, Schedule) else given

    def reset_record(self) -> None:
        """Start a new record."""
        self.record = RunRecord(str(self.device), f"{self.device.config.digest:016x}")

    def detach(self) -> None:
        """Put the model back as it was before :func:`attach`; detaching twice is harmless."""
        while self._undo:
            self._undo.pop()()
        self._forget_pass()
        leave_survivors(self._base, None)
        if self._closes_device:
            self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    # ------------------------------------------------------------------------------------ attaching

    def _enter_model(self) -> None:
        register_functions()
        before = self._config._attn_implementation
        if before != NAME:
            self.model.set_attn_implementation(NAME)
            self._undo.append(lambda: self.model.set_attn_implementation(before))
        self._base.__dict__[_KEY] = self
        self._undo.append(lambda: self._base.__dict__.pop(_KEY, None))
        self._replace(self._base, _alone)
        self._replace(self._family.tokens(self._base), self._checked_tokens)
        self._replace(self._family.positions(self._base), self._checked_positions)
        for layer, block in enumerate(self._family.blocks(self._base)):
            self._replace(block, lambda forward, layer=layer: self._block(layer, forward))
            if self._family.before_ffn:
                self._replace(self._family.before_ffn(block), self._dropping)
            for module, parts in self._family.projections(block):
                self._replace(module, self._projection(module, parts))

    def _replace(self, module: nn.Module, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Give one module, not its class, another ``forward`` made from its own."""
        before = module.__dict__.get("forward")
        module.forward = make(module.forward)

        def put_back() -> None:
            del module.__dict__["forward"]
            if before is not None:
                module.forward = before

        self._undo.append(put_back)

    def _projection(self, module: nn.Module, parts: int) -> Callable[[Callable[..., Any]], LiveProjection]:
        return lambda forward: LiveProjection(module, parts, self._heads, forward)

    # ------------------------------------------------------------------------------------ running

    def _checked_positions(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse an input that is empty or has more tokens than the model has positions for."""

        def checked(*args: Any, **kwargs: Any) -> Any:
            given = next((part for part in (*args, *kwargs.values()) if isinstance(part, torch.Tensor)), None)
            if self._is_active() and given is not None:
                self._check_length(given)
            return forward(*args, **kwargs)

        return checked

    def _checked_tokens(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Refuse token ids that are no integers."""

        def checked(ids: torch.Tensor) -> Any:
            if self._is_active() and (ids.is_floating_point() or ids.is_complex()):
                raise InputError(
                    f"token ids are {ids.dtype} {list(ids.shape)}; expected integers [rows, tokens], as a "
                    "tokenizer gives them"
                )
            return forward(ids)

        return checked

    def _check_length(self, given: torch.Tensor) -> None:
        if given.numel() == 0:
            raise InputError(f"the input is empty, {list(given.shape)}; expected at least one token")
        if given.dim() < 2:
            raise InputError(
                f"the input is {list(given.shape)}; expected [rows, tokens], one row for a single text"
            )
        length = int(given.max()) + 1 if self._family.causal else given.shape[1]
        if length > self._positions:
            raise InputError(
                f"the input needs {length} positions; {type(self._base).__name__} has {self._positions}. "
                "Truncate or split it"
            )

    def _block(self, layer: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if layer == 0:
                self._forget_pass()  # one that broke off between two blocks
                leave_survivors(self._base, None)
                if self._is_active():
                    self._pass = self._begin(hidden, *cache_and_mask(self._family.causal, args, kwargs))
            running = self._pass
            if running is None:
                return forward(hidden, *args, **kwargs)
            try:
                with in_flight(running):
                    computed = forward(running.pack(hidden), *args, **kwargs)
            except BaseException:
                self._forget_pass()
                raise
            out = running.unpack(hidden, computed)
            if layer + 1 == self._layers:
                self._end(running)
            return out

        return run

    def _dropping(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """BERT: what attention pruned is gone before the FFN of the same block."""

        def run(*args: Any, **kwargs: Any) -> Any:
            output, weights = forward(*args, **kwargs)
            return (self._pass.survivors(output) if self._pass else output), weights

        return run

    def _begin(self, hidden: torch.Tensor, cache: Any, mask: torch.Tensor | None) -> ForwardPass:
        self._check_call(mask)
        store = store_of(cache) if cache is not None else None
        if store is None:
            store = DeviceCache([])
            if cache is not None:
                adopt(cache, store, self._layers)
        self._check_place(store)
        columns = token_columns(hidden.shape, mask, store)
        if store.steps == 0:
            grows = cache is not None
            store.rows = [self._sequence(len(own), grows) for own in columns]
        self._temporary = store if cache is None else None
        return ForwardPass(self._accelerator, self.record, store, hidden.shape, columns)

    def _end(self, running: ForwardPass) -> None:
        running.end()
        leave_survivors(self._base, running.alive())
        temporary = self._temporary
        self._forget_pass()
        if temporary is not None:
            temporary.free()

    def _forget_pass(self) -> None:
        """Report it. Memory goes back once no job works in it: a pushed one holds what it needs."""
        if self._pass is not None:
            self._pass.report()
        self._pass = self._temporary = None

    def _check_place(self, store: DeviceCache) -> None:
        for row in store.rows:
            if row.sequence.device is not self.device:
                raise ModelError(
                    f"past_key_values keeps its rows on another device ({row.sequence.device}) than "
                    f"{self.device}, where this session runs; go on there, or start again with an empty cache"
                )

    def _check_call(self, mask: torch.Tensor | None) -> None:
        wanted = _active_collector.get() or {}
        if "attentions" in wanted:
            raise ModelError(
                "output_attentions is not defined here: a SpAtten device keeps probabilities on chip and "
                "answers their sums, see session.record. Leave it out, or use attn_implementation='eager'"
            )
        if self._base.training:
            raise ModelError(
                "the model is in training mode; SpAtten runs inference only: call model.eval() first"
            )
        if mask is not None and mask.dim() != 2:
            raise ModelError(
                f"attention_mask has {mask.dim()} dimensions; expected 2 (rows, tokens), with 0 for padding"
            )

    def _is_active(self) -> bool:
        """Not so while the user has switched the attached model to another attention."""
        return bool(self._config._attn_implementation == NAME)

    def _sequence(self, length: int, grows: bool) -> LiveSequence:
        longest = min(self._positions, self.device.config.max_sequence)
        slots = max(length, longest) if grows else length
        return LiveSequence(self.device, self._shape(slots), self._plan(length), causal=self._family.causal)

    def _shape(self, slots: int) -> Shape:
        return Shape(self._layers, self._heads, self._dim, slots)

    def _plan(self, length: int) -> LayerPlan:
        given = self._schedule
        rules = given if isinstance(given, Schedule) else preset(given, self._layers, length)
        return rules.plan(self._layers)


def _alone(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A base model that runs is attached already: none is looked for inside it."""

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        with unwatched_if_alone():
            return forward(*args, **kwargs)

    return run


def _check_value_share(device: Device, plan: LayerPlan) -> None:
    """Refuse a limit that the device's contract does not have, before a prompt is read in vain."""
    if any(plan.value_shares) and device.config.abi_minor < 1:
        raise ConfigError(
            f"schedule {plan.schedule.name!r}: value_share is {plan.schedule.value_share}; {device} speaks "
            f"contract {device.config.abi}, which has none. Load a bitstream of 1.1, or set it to 0"
        )


def cache_and_mask(
    causal: bool, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, torch.Tensor | None]:
    """What transformers passes to a block beside the hidden states: GPT-2 the cache first, BERT the mask."""
    names = ("past_key_values", "attention_mask") if causal else ("attention_mask",)
    given = dict(zip(names, args, strict=False)) | kwargs
    return given.get("past_key_values"), given.get("attention_mask")
