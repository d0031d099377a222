# SPDX-License-Identifier: BSD-2-Clause
"""Whole models on the emulator against eager attention: same process, same weights, one thread each.

Eager, NumPy and numba runs are interleaved, so that a busy machine slows all alike; medians are compared.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, PreTrainedModel

import spatten
from spatten_drivers import open_device
from spatten_drivers.errors import ConfigError
from spatten_drivers.model.kernels import available_kernels

from .hf import auto_attach_disabled
from .report.markdown import markdown_table

#: Vocabulary of the random GPT-2s: with 50,257 the output layer would hide attention.
VOCABULARY = 4096
NEW_TOKENS = 32


@dataclass(frozen=True)
class Case:
    """A model, an input and a schedule; ``decode`` generates :data:`NEW_TOKENS` after the prompt."""

    name: str
    build: Callable[[], PreTrainedModel]
    tokens: int
    schedule: str = "dense"
    decode: bool = False


@dataclass(frozen=True)
class CaseResult:
    """Median milliseconds, as shares of eager's too; ``difference`` is the largest of any output element."""

    name: str
    schedule: str
    eager_ms: float
    numpy_ms: float
    numba_ms: float | None
    numpy_ratio: float
    numba_ratio: float | None
    difference: float
    repeats: int


def _minilm() -> PreTrainedModel:
    from .catalog import minilm_folder

    return BertModel.from_pretrained(minilm_folder(), attn_implementation="eager")


def _gpt2_prose_shape() -> PreTrainedModel:
    shape = GPT2Config(n_layer=6, n_embd=384, n_head=6, vocab_size=VOCABULARY, attn_implementation="eager")
    return GPT2LMHeadModel(shape)


def _bert_base() -> PreTrainedModel:
    return BertModel(BertConfig(attn_implementation="eager"))


def _gpt2_small() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, attn_implementation="eager"))


_SHAPES = (
    Case("minilm-128", _minilm, 128),
    Case("minilm-512", _minilm, 512),
    Case("gpt2-6x384-prefill-512", _gpt2_prose_shape, 512),
    Case("gpt2-6x384-prefill-1023", _gpt2_prose_shape, 1023),
    Case(f"gpt2-6x384-decode-256+{NEW_TOKENS}", _gpt2_prose_shape, 256, decode=True),
)


def _pruned(case: Case) -> Case:
    schedule = "paper-gpt2" if case.name.startswith("gpt2") else "paper-bert"
    return Case(f"{case.name}-pruned", case.build, case.tokens, schedule, case.decode)


DEFAULT_CASES = (*_SHAPES, *map(_pruned, _SHAPES))
EXTRA_CASES = (Case("bert-base-128", _bert_base, 128), Case("gpt2-small-prefill-512", _gpt2_small, 512))


def chosen_cases(names: Sequence[str]) -> list[Case]:
    """Cases by name; ``default`` and ``all`` stand for several, a trailing ``*`` for a prefix.

    Raises
    ------
    ConfigError : no case has the name.
    """
    known = [*DEFAULT_CASES, *EXTRA_CASES]
    chosen: list[Case] = []
    for name in names:
        groups = {"default": list(DEFAULT_CASES), "all": known}
        exact = [
            case
            for case in known
            if case.name == name or (name[-1:] == "*" and case.name.startswith(name[:-1]))
        ]
        if not (found := groups.get(name, exact)):
            raise ConfigError(
                f"benchmark case is {name!r}; expected default, all, or some of {[c.name for c in known]}"
            )
        chosen += [case for case in found if case not in chosen]
    return chosen


def run_cases(
    cases: Sequence[Case], repeats: int, step: Callable[[str], None] = lambda name: None
) -> list[CaseResult]:
    """Measure every case; ``step`` is told the name of each before it starts."""
    if repeats < 1:
        raise ConfigError(f"repeats is {repeats}; expected 1 or more")
    results = []
    with single_thread():
        for case in cases:
            step(case.name)
            results.append(run_case(case, repeats))
    return results


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for torch and for every BLAS in the process, put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def run_case(case: Case, repeats: int) -> CaseResult:
    """Eager and every kernel in turn, once to warm up and then ``repeats`` times."""
    torch.manual_seed(0)
    model = case.build().eval()
    tokens = torch.randint(1, VOCABULARY, (1, case.tokens))
    runners: dict[str, Callable[[], tuple[float, torch.Tensor]]] = {
        "eager": lambda: _eager(case, model, tokens)
    }
    devices = [open_device("emulator", kernel=name) for name in available_kernels()]
    for name, device in zip(available_kernels(), devices, strict=True):
        runners[name] = lambda device=device: _attached(case, model, tokens, device)
    outputs = {name: run()[1] for name, run in runners.items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(repeats):
        for name, run in runners.items():
            times[name].append(run()[0])
    for device in devices:
        device.close()
    return _result(case, {name: statistics.median(spent) for name, spent in times.items()}, outputs, repeats)


def _result(case: Case, ms: dict[str, float], outputs: dict[str, torch.Tensor], repeats: int) -> CaseResult:
    numba = ms.get("numba")
    return CaseResult(
        name=case.name,
        schedule=case.schedule,
        eager_ms=round(ms["eager"], 3),
        numpy_ms=round(ms["numpy"], 3),
        numba_ms=None if numba is None else round(numba, 3),
        numpy_ratio=round(ms["numpy"] / ms["eager"], 3),
        numba_ratio=None if numba is None else round(numba / ms["eager"], 3),
        difference=float((outputs["numpy"] - outputs["eager"]).abs().max()),
        repeats=repeats,
    )


def _eager(case: Case, model: PreTrainedModel, tokens: torch.Tensor) -> tuple[float, torch.Tensor]:
    with auto_attach_disabled():
        return _timed(case, model, tokens)


def _attached(
    case: Case, model: PreTrainedModel, tokens: torch.Tensor, device: Any
) -> tuple[float, torch.Tensor]:
    with spatten.attach(model, schedule=case.schedule, device=device):
        return _timed(case, model, tokens)


def _timed(case: Case, model: PreTrainedModel, tokens: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Milliseconds and the output: hidden states, logits, or the logits of every generated token."""
    with torch.inference_mode():
        start = time.perf_counter()
        output = _decode(model, tokens) if case.decode else model(tokens)[0]
        return 1e3 * (time.perf_counter() - start), output


def _decode(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Fixed tokens are fed after the prompt, so that every variant does the same steps."""
    answer = model(tokens, use_cache=True)
    logits = [answer.logits[:, -1]]
    for step in range(NEW_TOKENS):
        answer = model(tokens[:, step : step + 1], past_key_values=answer.past_key_values, use_cache=True)
        logits.append(answer.logits[:, -1])
    return torch.stack(logits)


def results_json(results: Sequence[CaseResult]) -> dict[str, Any]:
    """The JSON document of the benchmark."""
    return {"threads": 1, "torch": torch.__version__, "cases": [asdict(result) for result in results]}


PAGE = """\
# Speed of the software model

The emulator executes the same binary jobs as a board and gives the same bits; it is there for development and
continuous integration, not instead of a board. How much slower than plain attention is a model on it?

Whole forward passes against transformers' eager attention: same process, same weights, runs interleaved, one
thread each, median of {repeats}. MiniLM has its own weights; the GPT-2s have 6 layers of 6 heads of 64 and
random ones. A random GPT-2 has flat attention: pruned, nearly every row is unsure and fetches its LSBs, the
worst case of progressive quantization. `decode` is a prompt of 256 tokens and {steps} steps. The largest
difference of any output element is that of 12-bit quantization where nothing is pruned.

With numba a job of one query, a step of generation, is one compiled call. The first run after an installation
compiles, about 40 seconds on one core; what was compiled is kept.

Made by `{command}` with torch {torch}, numpy {numpy}, numba {numba} on {cores} cores of {machine}.

{table}
"""


#: Of :func:`table_cells`.
COLUMNS = (
    "case",
    "schedule",
    "eager ms",
    "NumPy ms",
    "numba ms",
    "NumPy / eager",
    "numba / eager",
    "largest difference",
)


def results_page(results: Sequence[CaseResult], command: str, versions: Mapping[str, str]) -> str:
    """The page docs/performance.md, from the versions of ``torch``, ``numpy`` and ``numba``."""
    return PAGE.format(
        repeats=max(result.repeats for result in results),
        steps=NEW_TOKENS,
        command=command,
        cores=os.cpu_count(),
        machine=platform.machine(),
        table=markdown_table(COLUMNS, [table_cells(result) for result in results], text_columns=2),
        **versions,
    )


def table_cells(result: CaseResult) -> list[str]:
    """A row of the table, in the terminal and on the page."""
    fast = ("-", "-") if result.numba_ms is None else (f"{result.numba_ms:.1f}", f"{result.numba_ratio:.2f}x")
    return [
        result.name,
        result.schedule,
        f"{result.eager_ms:.1f}",
        f"{result.numpy_ms:.1f}",
        fast[0],
        f"{result.numpy_ratio:.2f}x",
        fast[1],
        f"{result.difference:.2g}",
    ]
