# SPDX-License-Identifier: BSD-2-Clause
"""The driver proper: floats in, a binary layer job to the device, floats and counters out."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .answer import STATUS_HELP, JobAnswer, Status, answer_bytes, decode_header, dense_rows
from .buffer import Buffer, allocate
from .descriptor import Contents, Room, describer
from .devices.base import Device
from .errors import JobError, OperandError
from .job import HEADER_BYTES, LayerJob, decode_tables, table_places
from .planes import padded, row_bytes
from .quantize import importance_scale
from .sequence import Sequence


@dataclass(frozen=True)
class LayerRequest:
    """One attention layer of one sequence, in floats and slots.

    Attributes
    ----------
    layer : index of the layer.
    heads : live head ids, ascending.
    queries : ``[len(heads), n_queries, D]`` floats.
    query_slots, key_slots : ascending slots; keys must have been written to the sequence.
    n_slots : slots of the sequence that hold a token.
    scaling : factor on Q x K before softmax, usually ``D ** -0.5``.
    keep_tokens, keep_heads, keep_values : what survives; ``None`` keeps all.
    value_limit : values whose weight is lower, in units of 1/65535 of the greatest of its row, are dropped
        too; 0 drops none. A device of contract 1.0 has no such limit.
    protected : slots that survive token pruning whatever their importance.
    add_tokens, add_heads : add to the running importance instead of starting it anew.
    decay : factor from 0 to 1 on the old token importance.
    """

    layer: int
    heads: NDArray[np.intp]
    queries: NDArray[np.floating]
    query_slots: NDArray[np.intp]
    key_slots: NDArray[np.intp]
    n_slots: int
    scaling: float
    causal: bool = False
    keep_tokens: int | None = None
    keep_heads: int | None = None
    keep_values: int | None = None
    value_limit: int = 0
    protected: frozenset[int] = field(default_factory=frozenset)
    add_tokens: bool = True
    add_heads: bool = True
    decay: float = 1.0

    @property
    def shielded(self) -> NDArray[np.bool_]:
        """Which keys survive whatever their importance."""
        shielded = np.zeros(self.n_slots, bool)
        shielded[[slot for slot in self.protected if 0 <= slot < self.n_slots]] = True
        return shielded.take(self.key_slots, mode="clip")  # the device refuses slots that are none


@dataclass(frozen=True, eq=False)
class LayerResult:
    """What a layer gave: ``output float32 [heads, queries, D]``, the job and its raw answer."""

    output: NDArray[np.float32]
    job: LayerJob
    answer: JobAnswer
    kv_buffer_rows: int

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Surviving slots."""
        return self.answer.token_slots

    @property
    def heads(self) -> NDArray[np.int64]:
        """Surviving heads."""
        return self.answer.heads.astype(np.int64)

    @property
    def dense_rows(self) -> int:
        """K rows, and V rows, that the job would fetch with nothing pruned."""
        return dense_rows(self.job, self.kv_buffer_rows)

    @property
    def keys_skipped(self) -> int:
        """K rows a dense job would have fetched and this one did not."""
        return self.dense_rows - self.answer.fields["keys_fetched"]

    @property
    def values_skipped(self) -> int:
        """V rows a dense job would have fetched and this one did not."""
        return self.dense_rows - self.answer.fields["values_fetched"]


@dataclass(eq=False)
class Ticket:
    """A job; ``number`` is the device's count of it once it was pushed.

    It keeps the job's device memory until it is forgotten: ``memory`` at ``address``, in which descriptor,
    queries, answer and output lie one behind the other; the last three begin at ``places``.
    """

    job: LayerJob
    sequence: Sequence
    memory: Buffer
    address: int
    places: tuple[int, int, int]
    v_scale: bytes
    number: int = 0

    @property
    def descriptor(self) -> Buffer:
        return self.memory[: self.places[0]]

    @property
    def answer(self) -> Buffer:
        return self.memory[self.places[1] : self.places[2]]

    @property
    def output(self) -> Buffer:
        return self.memory[self.places[2] :]


class Accelerator:
    """Pushes layer jobs to a device and fetches their answers, in order.

    Parameters
    ----------
    device : an open device.
    timeout : seconds after which a wait raises :class:`~spatten_drivers.errors.DeviceTimeoutError`; the
        device's own unless given.
    """

    def __init__(self, device: Device, timeout: float | None = None) -> None:
        self.device, self.timeout = device, device.timeout if timeout is None else timeout
        self._describe = describer(device.kernel)
        self._ids = itertools.count(1)
        self._running: deque[Ticket] = deque()  # the device works in their memory, whoever forgets them

    def attend(self, sequence: Sequence, request: LayerRequest) -> LayerResult:
        """Run one layer and wait for it."""
        return self.wait(self.submit(sequence, request))

    def submit(self, sequence: Sequence, request: LayerRequest) -> Ticket:
        """Stream the queries, write the descriptor and push the job; the device may still run earlier ones.

        Raises
        ------
        OperandError : a shape, a count or a number is illegal; nothing was pushed.
        DeviceTimeoutError : the queue stayed full for ``timeout`` seconds.
        """
        _check_request(sequence, request)
        ticket = self._prepare(sequence, request)
        ticket.number = self.device.push_job(ticket.address, self.timeout)
        self._forget_ended()
        self._running.append(ticket)
        return ticket

    def wait(self, ticket: Ticket) -> LayerResult:
        """The result of a pushed job.

        The running importance is read now: jobs of the same sequence that were queued behind this one and
        have ended count in it.

        Raises
        ------
        JobError : the device ended the job with an error status.
        DeviceTimeoutError : it did not end in time.
        """
        self.device.wait_for_jobs(ticket.number, self.timeout)
        self._forget_ended()
        answer = self._fetch(ticket)
        self._check_status(ticket, answer)
        output = answer.output * _output_scale(ticket.v_scale, ticket.sequence.quantization.v_bits)
        return LayerResult(output, ticket.job, answer, self.device.config.kv_buffer_rows)

    def _forget_ended(self) -> None:
        while self._running and self.device.has_ended(self._running[0].number):
            self._running.popleft()

    def _prepare(self, sequence: Sequence, request: LayerRequest) -> Ticket:
        """Lay descriptor, queries, answer and output side by side, so that one transfer takes them there."""
        beat = self.device.config.beat_bytes
        n_heads, n_queries, dim = request.queries.shape
        own = self._own_fields(sequence, request)
        keys_at, slots_at, queries_at = table_places(n_heads, own["n_keys"], n_queries, beat)
        row, output_row = row_bytes(dim, sequence.quantization.q_bits, beat), padded(2 * dim, beat)
        answer = answer_bytes(own["keep_tokens"], own["keep_heads"], beat)
        answer_at = queries_at + n_heads * n_queries * row
        output_at = answer_at + answer
        memory = allocate(output_at + n_heads * n_queries * output_row, "u1", self.device)
        room = Room(np.asarray(memory), keys_at, slots_at, queries_at, row)
        try:
            return self._lay_out(sequence, request, own, memory, room, (answer_at, output_at))
        except BaseException:
            memory.freebuffer()  # a traceback that somebody keeps would hold it
            raise

    def _lay_out(
        self,
        sequence: Sequence,
        request: LayerRequest,
        own: dict[str, int],
        memory: Buffer,
        room: Room,
        places: tuple[int, int],
    ) -> Ticket:
        """Descriptor and queries into a job's memory and to the device; ``places`` of answer and output."""
        start, layer, heads = memory.device_address, request.layer, request.heads
        own |= {
            "q_address": start + room.rows,
            "answer_address": start + places[0],
            "output_address": start + places[1],
            "descriptor_bytes": room.rows,
        }
        template = sequence.job_template(layer)
        job = decode_tables(template.fields | own, room.memory, self.device.config.beat_bytes)
        k_target, v_target = sequence.targets[layer]
        v_scale = v_target.scale[heads].tobytes()  # it may be another when the answer comes
        contents = Contents(
            request.queries,
            sequence.quantization.q_bits,
            k_target.scale[heads],
            request.scaling,
            _importance_gains(v_scale, sequence.quantization.v_bits),
            heads,
            request.key_slots,
            request.query_slots,
            request.shielded,
        )
        self._describe(job, template, own, contents, room)
        self.device.write_memory(start, room.memory[: places[0] + HEADER_BYTES])
        return Ticket(job, sequence, memory, start, (room.rows, *places), v_scale)

    def _own_fields(self, sequence: Sequence, request: LayerRequest) -> dict[str, int]:
        """What a job does not have in common with the others of its layer."""
        n_heads, n_queries, _ = request.queries.shape
        n_keys, everything = len(request.key_slots), 0xFFFF
        return sequence.quantization.key_fields(n_queries) | {
            "job_id": next(self._ids) & 0xFFFFFFFF,
            "causal": int(request.causal),
            "add_tokens": int(request.add_tokens),
            "add_heads": int(request.add_heads),
            "n_heads": n_heads,
            "n_queries": n_queries,
            "n_keys": n_keys,
            "n_slots": request.n_slots,
            "keep_tokens": n_keys if request.keep_tokens is None else request.keep_tokens,
            "keep_heads": n_heads if request.keep_heads is None else request.keep_heads,
            "keep_values": everything if request.keep_values is None else request.keep_values,
            "value_limit": request.value_limit,
            "decay": round(request.decay * (1 << 16)),
        }

    def _fetch(self, ticket: Ticket) -> JobAnswer:
        """The answer, in memory of its own: that of the job may soon be another's."""
        sequence, job, beat = ticket.sequence, ticket.job, self.device.config.beat_bytes
        _, start, output_at = ticket.places
        block = self.device.read_memory(ticket.address + start, ticket.memory.size - start)
        fields, counters = decode_header(block)
        n_tokens, n_heads = fields["n_tokens"], fields["n_heads"]
        heads_at = HEADER_BYTES + padded(2 * n_tokens, beat)
        output = block[output_at - start :].view("<i2").reshape(job["n_heads"], job["n_queries"], -1)
        return JobAnswer(
            fields,
            counters,
            output[..., : job["head_dim"]],
            block[HEADER_BYTES : HEADER_BYTES + 2 * n_tokens].view("<u2"),
            block[heads_at : heads_at + 2 * n_heads].view("<u2"),
            self.device.read_memory(sequence.token_importance.device_address, 4 * job["n_slots"]).view("<u4"),
            self.device.read_memory(sequence.head_importance.device_address, 8 * sequence.shape.heads).view(
                "<u8"
            ),
            str(self.device),
        )

    def _check_status(self, ticket: Ticket, answer: JobAnswer) -> None:
        """Raise :class:`JobError` unless the job is done, and clear the device's error."""
        status = answer.status
        if status is Status.DONE:
            return
        name, job = self.device.name, ticket.job["job_id"]
        if status is Status.PENDING:  # it left no answer: its address was bad, or it was aborted
            status = Status(self.device.read_register("JOB_ERROR")) or Status.ABORTED
        self.device.clear_error()
        raise JobError(f"{name}: job {job} ended with {status.name}: {STATUS_HELP[status]}", status)


@lru_cache
def _importance_gains(v_scale: bytes, bits: int) -> NDArray[np.int64]:
    """Multiplier and shift of each head ``[h,2]``; they change only with a scale, for a louder row of V."""
    return np.array(importance_scale(np.frombuffer(v_scale).tolist(), bits), np.int64)


@lru_cache
def _output_scale(v_scale: bytes, bits: int) -> NDArray[np.float32]:
    """What an integer of each head's output is worth, ``[h,1,1]``."""
    return np.ldexp(np.frombuffer(v_scale), bits - 16).astype(np.float32)[:, None, None]


def _check_request(sequence: Sequence, request: LayerRequest) -> None:
    """Catches before the device does what a caller can get wrong, in the caller's words."""
    n_heads, n_keys = len(request.heads), len(request.key_slots)
    expected = (n_heads, len(request.query_slots), sequence.shape.head_dim)
    if request.queries.shape != expected or 0 in expected or n_keys == 0:
        raise OperandError(
            f"queries are {request.queries.shape} with {n_keys} keys; expected {expected} (heads, query "
            "slots, head dimension) and at least one of each"
        )
    sequence.check_place(request.layer, request.heads)
    last = int(max(request.query_slots.max(), request.key_slots.max()))
    if not last < request.n_slots <= sequence.shape.slots:
        raise OperandError(
            f"n_slots is {request.n_slots} with slots up to {last}; expected more than {last} and at most "
            f"the {sequence.shape.slots} slots of the sequence"
        )
    keep_tokens = request.keep_tokens
    for name, value, limit in (
        ("keep_tokens", keep_tokens, n_keys),
        ("keep_heads", request.keep_heads, n_heads),
        ("keep_values", request.keep_values, 0xFFFF),
    ):
        if value is not None and not 1 <= value <= limit:
            raise OperandError(
                f"{name} is {value}; expected 1 to {limit}. Everything pruned leaves no answer"
            )
    if not 0 <= request.value_limit <= 0xFFFF:
        raise OperandError(
            f"value_limit is {request.value_limit}; expected 0 (drops none) to 65535 (drops all that weigh "
            "less than the greatest of a row)"
        )
    if request.value_limit and sequence.device.config.abi_minor < 1:
        raise OperandError(
            f"value_limit is {request.value_limit}; {sequence.device} speaks contract "
            f"{sequence.device.config.abi}, which has none. Load a bitstream of 1.1, or use a schedule "
            "without"
        )
    if keep_tokens is not None and keep_tokens < len(request.protected):
        shielded = np.count_nonzero(request.shielded)
        if shielded > keep_tokens:
            raise OperandError(
                f"{shielded} tokens are protected but keep_tokens is {keep_tokens}; keep at least them"
            )
    if not 0.0 <= request.decay <= 1.0:
        raise OperandError(f"decay is {request.decay}; expected a factor from 0 to 1")
