# SPDX-License-Identifier: BSD-2-Clause
"""What a job must be before it runs: the twelve checks of contract, section 9, in three engines.

All sums are exact: widths follow from the fields, and a later engine only trusts what an earlier one let
pass.
"""

from __future__ import annotations

from functools import reduce
from operator import add, or_

from litex.gen import *
from migen import *

from spatten_drivers.answer import Status
from spatten_drivers.config import ABI_MAJOR, ABI_MINOR
from spatten_drivers.fields import reserved_bits
from spatten_drivers.job import HEADER_BYTES, HEADER_WORDS, JOB_MAGIC, JOB_WORDS, KeyPolicy, ValuePolicy
from spatten_drivers.planes import LSB_WIDTH, MSB_WIDTHS

from .geometry import OUTPUT_BITS, Geometry
from .port import ADDRESS_BITS, address_bits, beat_shift

STATUS_BITS = bits_for(max(Status))
ROW_BITS = 7  # beats of a row: 256 bytes by 4
PLANES = ("k_msb", "k_lsb", "v_msb", "v_lsb")
NAMED_WORDS = max(word.index for word in JOB_WORDS) + 1


def field_signals(*names: str) -> dict[str, Signal]:
    """Inputs as wide as these header fields, by name: what a unit needs to know of its job."""
    widths = {f.name: f.width for word in JOB_WORDS for f in word.fields}
    return {name: Signal(widths[name], name=f"job_{name}") for name in names}


class JobHeader:
    """The named words of a descriptor's header, and its fields as parts of them.

    Attributes
    ----------
    words : list of Signal(32).
    fields : dict of Signal by the names of ``spatten_drivers.job.JOB_WORDS``.
    """

    def __init__(self) -> None:
        self.words = [Signal(32, name=f"header_{index}", reset_less=True) for index in range(NAMED_WORDS)]
        self.fields = {f.name: Signal(f.width, name=f.name) for word in JOB_WORDS for f in word.fields}

    def split(self) -> list:
        """Statements that drive the fields from the words."""
        return [
            self.fields[f.name].eq(self.words[word.index][f.lsb : f.lsb + f.width])
            for word in JOB_WORDS
            for f in word.fields
        ]

    def __getitem__(self, name: str) -> Signal:
        return self.fields[name]


def beats(geometry: Geometry, count, element_bytes: int):
    """Beats that ``count`` elements take, padded: an expression."""
    size = log2_int(geometry.config.beat_bytes)
    scale = log2_int(element_bytes)
    if scale >= size:
        return Cat(C(0, scale - size), count) if scale > size else count
    return (count + (1 << (size - scale)) - 1) >> (size - scale)


def row_beats(geometry: Geometry, head_dim, width):
    """Beats of a row of ``head_dim`` elements of an even ``width``: an expression."""
    half, groups = width[1:], head_dim[5:]  # a group of 32 elements of 2 bits is 8 bytes
    eighths = reduce(add, (Mux(groups[i], Cat(C(0, i), half) if i else half, 0) for i in range(len(groups))))
    return beats(geometry, eighths, 8)


def is_in(value, legal):
    """Whether a value is one of a few."""
    return reduce(or_, (value == one for one in legal))


# Header -------------------------------------------------------------------------------------------


class HeaderChecks(LiteXModule):
    """Checks 1 to 9: the header's fields, each alone or against another.

    All comparisons run all the time, in a pipeline: sums, comparisons, one bit for each run of checks with
    the same status, the first of these that failed. So the outputs are right ``LATENCY`` cycles after the
    inputs came to rest.

    Parameters
    ----------
    geometry : sizes of the core.
    header : JobHeader to look at, in.

    Attributes
    ----------
    address : Signal(32), in: byte address of the descriptor.
    memory_bytes : Signal(32), in: size of device memory.
    reserved : Signal, in: a word without a name is not 0.
    bad_address : Signal, out: check 1 failed; needs no header.
    answer_writable : Signal, out: checks 2 and 3 passed.
    status : Signal, out: ``Status.DONE``, or of the first of the checks 2 to 9 that failed.
    memory_beats, table_beats : Signal, out: size of device memory and of the three tables, in beats.
    """

    LATENCY = 8

    def __init__(self, geometry: Geometry, header: JobHeader) -> None:
        self.geometry, self.header = geometry, header
        self.address = Signal(ADDRESS_BITS, reset_less=True)
        self.memory_bytes = Signal(ADDRESS_BITS)
        self.reserved = Signal()
        self.bad_address = Signal()
        self.answer_writable = Signal(reset_less=True)
        self.status = Signal(STATUS_BITS, reset_less=True)
        self.memory_beats = Signal(address_bits(geometry))
        self.table_beats = Signal(bits_for(2 * 512 + 32), reset_less=True)

        # # #

        shift = beat_shift(geometry)
        self.comb += self.memory_beats.eq(self.memory_bytes[shift:])

        begins = self.outside(self.address, HEADER_BYTES >> shift)
        answer = self.outside(header["answer_address"], HEADER_BYTES >> shift)
        self.comb += self.bad_address.eq(begins)
        self._sizes()
        ends = self.outside(self.address, self._size)

        checks = self._checks(answer, ends)
        failed = [self.any_of(conditions) for _, conditions in checks]
        verdict = [self.status.eq(Status.DONE)]
        for bad, (status, _) in reversed(list(zip(failed, checks, strict=True))):
            verdict = [If(bad, self.status.eq(status)).Else(*verdict)]
        self.sync += [*verdict, self.answer_writable.eq(~(failed[0] | failed[1] | failed[2]))]

    def _sizes(self) -> None:
        """Beats of the three tables, and with the header of the whole descriptor."""
        geometry, header = self.geometry, self.header
        names = {"n_heads": 8, "n_keys": 2, "n_queries": 2}
        parts = [beats(geometry, header[name], size) for name, size in names.items()]
        lists = Signal.like(self.table_beats)
        heads = Signal(max=512, reset_less=True)
        self._size = size = Signal.like(self.table_beats)
        self.sync += [
            lists.eq(parts[1] + parts[2]),
            heads.eq(parts[0]),
            self.table_beats.eq(lists + heads),
            size.eq(self.table_beats + (HEADER_BYTES >> beat_shift(geometry))),
        ]

    def _checks(self, answer: Signal, ends: Signal) -> tuple:
        """Checks 2 to 9 in their order: for each run with the same status, what must not hold."""
        header, shift = self.header, beat_shift(self.geometry)
        digest = self.geometry.config.digest
        stated = header["descriptor_bytes"]
        return (
            (Status.BAD_MAGIC, [header["magic"] != JOB_MAGIC]),
            (
                Status.BAD_VERSION,
                [header["abi_major"] != ABI_MAJOR, header["abi_minor"] > ABI_MINOR],
            ),
            (Status.BAD_ADDRESS, [answer]),
            (
                Status.BAD_DIGEST,
                [
                    header["config_digest_lo"] != digest & 0xFFFFFFFF,
                    header["config_digest_hi"] != digest >> 32,
                ],
            ),
            (
                Status.BAD_FIELD,
                [
                    *self.reserved_set(),
                    *self.shape_illegal(),
                    *self.keeps_illegal(),
                    *self.widths_illegal(),
                    (stated[shift:] != self._size) | (stated[:shift] != 0),
                ],
            ),
            (Status.BAD_ADDRESS, [ends]),
        )

    def outside(self, address: Signal, size) -> Signal:
        """A region that is not beat-aligned or leaves memory, two cycles later."""
        shift = beat_shift(self.geometry)
        end = Signal(address_bits(self.geometry) + 1, reset_less=True)
        bad = Signal(reset_less=True)
        self.sync += [
            end.eq(address[shift:] + size),
            bad.eq((end > self.memory_beats) | (address[:shift] != 0)),
        ]
        return bad

    def any_of(self, conditions: list) -> Signal:
        """Whether any condition holds, two cycles later: each has a register of its own."""
        flags = Signal(len(conditions), reset_less=True)
        bad = Signal(reset_less=True)
        self.sync += [*(flags[i].eq(condition) for i, condition in enumerate(conditions)), bad.eq(flags != 0)]
        return bad

    def reserved_set(self) -> list:
        """Check 5."""
        masks = reserved_bits(JOB_WORDS, HEADER_WORDS)[:NAMED_WORDS].tolist()
        inside = [(word & mask) != 0 for word, mask in zip(self.header.words, masks, strict=True) if mask]
        return [self.header["kind"] != 0, self.reserved, *inside]

    def shape_illegal(self) -> list:
        """Check 6."""
        config, header = self.geometry.config, self.header
        return [
            ~is_in(header["head_dim"], config.head_dims),
            header["n_heads"] == 0,
            header["n_heads"] > header["total_heads"],
            header["total_heads"] > config.max_heads,
            header["n_queries"] == 0,
            header["n_queries"] > header["n_slots"],
            header["n_keys"] == 0,
            header["n_keys"] > header["n_slots"],
            header["n_slots"] > config.max_sequence,
        ]

    def keeps_illegal(self) -> list:
        """Check 7."""
        header = self.header
        return [
            header["keep_tokens"] == 0,
            header["keep_tokens"] > header["n_keys"],
            header["keep_heads"] == 0,
            header["keep_heads"] > header["n_heads"],
            header["keep_values"] == 0,
            header["decay"] > 1 << 16,
        ]

    def widths_illegal(self) -> list:
        """Check 8."""
        header = self.header
        follows = header["v_policy"] == ValuePolicy.ON_REFETCH
        found = [
            ~is_in(header["q_bits"], MSB_WIDTHS),
            follows & (header["k_policy"] != KeyPolicy.PROGRESSIVE),
        ]
        for operand, policies in (("k", KeyPolicy), ("v", ValuePolicy)):
            msb, lsb = header[f"{operand}_msb_bits"], header[f"{operand}_lsb_bits"]
            policy = header[f"{operand}_policy"]
            found += [
                ~is_in(msb, MSB_WIDTHS),
                ~is_in(lsb, (0, LSB_WIDTH)),
                # A constant of 5 bits: Verilog adds in the width of the widest, and 12 + 4 is 16.
                msb + lsb > Constant(self.geometry.operand_bits, 5),
                ~is_in(policy, tuple(policies)),
                (lsb == 0) & (policy != 0),
            ]
        return [*found, *self.shares_illegal()]

    def shares_illegal(self) -> list:
        """Check 8: refetch by key needs a share, and one query."""
        header = self.header
        by_key = header["k_policy"] == KeyPolicy.BY_KEY
        shift = header["refetch_shift"]
        return [
            by_key & ((shift == 0) | (shift > 16)),
            by_key & (header["n_queries"] != 1),
            ~by_key & (shift != 0),
        ]


# Lists --------------------------------------------------------------------------------------------


class ListChecks(LiteXModule):
    """Checks 10 and 12: the entries of the three lists, as they pass.

    Entries come one a cycle, keys two; the verdict holds ``LATENCY`` cycles after the last.

    Parameters
    ----------
    header : JobHeader of the job, checked, in.

    Attributes
    ----------
    clear : Signal, in: a new job begins.
    head, key, query : Signal, in: an entry of that list passes.
    first : Signal, in: it is the first of its list.
    value : Signal(16), in: head id, slot with its protected bit, or query slot.
    both, second : Signal and Signal(16), in: with ``key``: another one passes, and its slot.
    illegal : Signal, in: something else about the entry is wrong.
    bad : Signal, out: check 10 failed.
    empty : Signal, out: check 12 failed.
    """

    LATENCY = 3

    def __init__(self, header: JobHeader) -> None:
        self.clear = Signal()
        self.head = Signal()
        self.key = Signal()
        self.query = Signal()
        self.first = Signal()
        self.value = Signal(16)
        self.both = Signal()
        self.second = Signal(16)
        self.illegal = Signal()
        self.bad = Signal()
        self.empty = Signal(reset_less=True)

        # # #

        descends, beyond = self._order(header)
        too_many = self._protected(header["keep_tokens"])
        self._first(header["causal"])
        self.sync += If(self.clear, self.bad.eq(0)).Elif(descends | beyond | too_many, self.bad.eq(1))

    def _order(self, header: JobHeader) -> tuple[Signal, Signal]:
        """An entry that is not greater than the one before, and one that is too great or illegal."""
        passes = Signal()
        first = Signal(reset_less=True)
        illegal = Signal(reset_less=True)
        value = Signal(16, reset_less=True)
        both = Signal(reset_less=True)
        second = Signal(15, reset_less=True)
        limit = Signal(16, reset_less=True)
        self.sync += [
            passes.eq(self.head | self.key | self.query),
            first.eq(self.first),
            illegal.eq(self.illegal),
            value.eq(self.value),
            If(self.key, value[15].eq(0)),
            both.eq(self.both),
            second.eq(self.second[:15]),
            limit.eq(Mux(self.head, header["total_heads"], header["n_slots"])),
        ]
        previous = Signal(16, reset_less=True)
        last = Signal(16)  # of two the second, which is the greater if they ascend
        descends = Signal()
        beyond = Signal()
        self.comb += last.eq(Mux(both, second, value))
        self.sync += [
            descends.eq(passes & ((~first & (value <= previous)) | (both & (second <= value)))),
            beyond.eq(passes & ((last >= limit) | illegal)),
            If(passes, previous.eq(last)),
        ]
        return descends, beyond

    def _protected(self, keep_tokens: Signal) -> Signal:
        """More keys are protected than tokens are to be kept."""
        protected = Signal(16)
        too_many = Signal()
        self.sync += [
            If(self.clear, protected.eq(0)).Elif(
                self.key, protected.eq(protected + self.value[15] + (self.both & self.second[15]))
            ),
            too_many.eq(~self.clear & (protected > keep_tokens)),
        ]
        return too_many

    def _first(self, causal: Signal) -> None:
        """Check 12: the first query, if causal, must see the first key."""
        key = Signal(15, reset_less=True)
        query = Signal(15, reset_less=True)
        self.sync += [
            If(self.key & self.first, key.eq(self.value)),
            If(self.query & self.first, query.eq(self.value)),
            self.empty.eq(causal & (key > query)),
        ]


# Regions ------------------------------------------------------------------------------------------


class RegionChecks(LiteXModule):
    """Check 11: every region is beat-aligned and lies inside memory.

    One adder does it all: the end of a region is ``address + a * stride + b * size`` beats, and a product is
    added bit by bit of its smaller factor. At most 180 cycles, while the lists are read.

    Parameters
    ----------
    geometry : sizes of the core.
    header : JobHeader of the job, checks 1 to 9 passed, in.

    Attributes
    ----------
    memory_beats : Signal, in: size of device memory, in beats.
    start : Signal, in: begin.
    busy : Signal, out: from the cycle after ``start`` on.
    bad : Signal, out: check 11 failed; right when not busy.
    row_beats : dict of Signal(7), out: beats of a row of each plane, of ``q`` and of ``output``. They follow
        the header by one cycle and need no start.
    """

    def __init__(self, geometry: Geometry, header: JobHeader) -> None:
        self.geometry, self.header = geometry, header
        self.memory_beats = Signal(address_bits(geometry))
        self.start = Signal()
        self.busy = Signal()
        self.bad = Signal()
        self.row_beats = {
            name: Signal(ROW_BITS, name=f"row_{name}", reset_less=True) for name in ("q", *PLANES, "output")
        }

        # # #

        # Sizes of single parts --------------------------------------------------------------------
        head_dim = header["head_dim"]
        control = Signal(max=2048, reset_less=True)
        self._rows = rows = Signal(bits_for(16 * 1024), reset_less=True)  # of q and of the output
        self.sync += [
            *(
                self.row_beats[p].eq(row_beats(geometry, head_dim, header[f"{p}_bits"]))
                for p in ("q", *PLANES)
            ),
            self.row_beats["output"].eq(row_beats(geometry, head_dim, C(OUTPUT_BITS, 5))),
            control.eq(sum(beats(geometry, header[name], 2) for name in ("keep_tokens", "keep_heads"))),
        ]

        # The region looked at ---------------------------------------------------------------------
        row = self.row_beats
        parts = [  # name, number of parts, beats of a part; of planes, in one head
            ("q", rows, row["q"]),
            *((plane, header["n_slots"], row[plane]) for plane in PLANES),
            ("output", rows, row["output"]),
            ("token_importance", beats(geometry, header["n_slots"], 4), 1),
            ("head_importance", beats(geometry, header["total_heads"], 8), 1),
            ("answer", control + (HEADER_BYTES >> beat_shift(geometry)), 1),
        ]
        self._region = region = Signal(max=len(parts))
        address, stride = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        count, size = Signal(len(rows)), Signal(ROW_BITS)
        used = Signal()
        more_heads = Signal(max=16)
        self.comb += more_heads.eq(header["total_heads"] - 1)
        cases = {
            place: [address.eq(header[f"{name}_address"]), count.eq(number), size.eq(each), used.eq(1)]
            for place, (name, number, each) in enumerate(parts)
        }
        for place, (name, *_) in enumerate(parts):
            if name in PLANES:
                cases[place] += [
                    stride.eq(header[f"{name}_stride"]),
                    used.eq(header[f"{name}_bits"] != 0),
                ]
        self.comb += Case(region, cases).makedefault(len(parts) - 1)

        # Sum: a product is added bit by bit of its second factor ----------------------------------
        shift = beat_shift(geometry)
        # Below 1 + 15 + 1 times all that 32 bits address.
        self._total = total = Signal(address_bits(geometry) + 5, reset_less=True)
        factor = Signal.like(total)
        times = Signal(ROW_BITS, reset_less=True)
        self._added = added = Signal()
        begin, part = Signal(), Signal()
        self.comb += added.eq(times == 0)
        self.sync += [
            If(times[0], total.eq(total + factor)),
            factor.eq(factor << 1),
            times.eq(times[1:]),
            If(self.start, total.eq(0), factor.eq(header["n_queries"]), times.eq(header["n_heads"])),
            If(begin, total.eq(address[shift:]), factor.eq(stride[shift:]), times.eq(more_heads)),
            If(part, factor.eq(count), times.eq(size)),
        ]

        # Verdict ----------------------------------------------------------------------------------
        outside, unaligned = Signal(reset_less=True), Signal(reset_less=True)
        self.sync += [
            outside.eq(total > self.memory_beats),
            unaligned.eq((address[:shift] != 0) | (stride[:shift] != 0)),
        ]
        self._steps(len(parts) - 1, begin, part, used & (outside | unaligned))

    def _steps(self, final: int, begin: Signal, part: Signal, wrong) -> None:
        """Counts the rows, then goes from region to region up to ``final``: its heads, its parts, its end."""
        region, added = self._region, self._added
        self.fsm = fsm = FSM(reset_state="IDLE")
        self.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        fsm.act("IDLE", NextValue(region, 0), If(self.start, NextValue(self.bad, 0), NextState("COUNT-ROWS")))
        fsm.act("COUNT-ROWS", If(added, NextValue(self._rows, self._total), NextState("BEGIN-REGION")))
        fsm.act("BEGIN-REGION", begin.eq(1), NextState("ADD-HEADS"))
        fsm.act("ADD-HEADS", If(added, part.eq(1), NextState("ADD-PARTS")))
        fsm.act("ADD-PARTS", If(added, NextState("COMPARE")))
        fsm.act("COMPARE", NextState("END-REGION"))
        fsm.act(
            "END-REGION",
            If(wrong, NextValue(self.bad, 1)),
            NextValue(region, region + 1),
            NextState("BEGIN-REGION"),
            If(region == final, NextState("IDLE")),
        )
