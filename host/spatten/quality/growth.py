# SPDX-License-Identifier: BSD-2-Clause
"""What it costs that a K/V cache grows: a later row may be louder than those that chose the scale.

``python -m spatten.quality.growth`` feeds a GPT-2 text token by token, so nearly every row comes after the
scale was chosen, under every rule for what happens then.
"""

from __future__ import annotations

from ..cli import threads

# isort: split
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

import spatten
from spatten_drivers import Device, Quantization, open_device

from ..catalog import LoadedModel, load
from ..cli.console import err, errors_to_exit_codes, progress, quiet_libraries
from ..report.markdown import markdown_table
from ..report.write import check_writable, write_atomic
from ..schedule import Schedule
from .metrics import PERPLEXITY, Estimate
from .report import change_text, quality_text
from .subject import Subject
from .tasks import TASKS, Perplexity, Sample

__all__ = ["app", "growth", "threads"]

#: Tokens of a window, and how many of them are there when the scales are chosen.
WINDOW, PROMPT = 256, 8
MODEL = "gpt2-prose"


@dataclass(frozen=True)
class Rule:
    """A width, and what happens when a row is louder than its scale: see ``Quantization.growth``.

    ``growth`` is ``whole`` for the bound that no cache reaches: the text at once, scales that fit all rows.
    """

    bits: int
    growth: str
    headroom: float = 1.0

    @property
    def schedule(self) -> Schedule:
        """Nothing pruned, one plane."""
        growth = "double" if self.growth == "whole" else self.growth
        return Schedule(quantization=Quantization.static(self.bits, headroom=self.headroom, growth=growth))


RULES = tuple(
    Rule(bits, growth, headroom)
    for bits in (12, 8, 6)
    for growth, headrooms in (("whole", (1.0,)), ("double", (1.0, 1.5)), ("saturate", (1.0, 1.5, 2.0)))
    for headroom in headrooms
)


@dataclass(frozen=True)
class Cost:
    """What a rule did to the windows.

    Attributes
    ----------
    surprise : mean negative log-likelihood of each window.
    rescaled : times a head's scale was doubled and its rows were written again.
    saturated : share of the K and V elements that were clamped.
    written : K and V bytes written to device memory.
    """

    surprise: NDArray[np.float64]
    rescaled: int = 0
    saturated: float = 0.0
    written: int = 0


def windows(count: int, seed: int) -> list[list[int]]:
    """``count`` windows of token ids of each held-out text."""
    texts = [task for task in TASKS if isinstance(task, Perplexity)]
    return [window[:WINDOW] for task in texts for window in task.examples(Sample(count, seed))]


def float_cost(loaded: LoadedModel, texts: Sequence[list[int]]) -> Cost:
    """The model's own attention."""
    return Cost(np.array([-Subject(loaded).log_probs(text, PROMPT).mean() for text in texts]))


def cost_of(
    loaded: LoadedModel, texts: Sequence[list[int]], rule: Rule, device: Device, step: Callable[[], None]
) -> Cost:
    """Every window under a rule."""
    read = _at_once if rule.growth == "whole" else _step_by_step
    surprise, rescaled, saturated, written, elements = [], 0, 0, 0, 0
    with spatten.attach(loaded.model, schedule=rule.schedule, device=device) as session:
        for text in texts:
            session.reset_record()
            surprise.append(read(Subject(loaded, session), text))
            record = session.record
            rescaled, saturated = rescaled + record.rescaled, saturated + record.saturated
            written, elements = written + record.uploaded_bytes, elements + 2 * _elements(loaded, text)
            step()
    return Cost(np.array(surprise), rescaled, saturated / elements, written)


def _step_by_step(subject: Subject, text: list[int]) -> float:
    return float(-subject.log_probs(text, PROMPT).mean())


def _at_once(subject: Subject, text: list[int]) -> float:
    ids = torch.tensor([text])
    with torch.inference_mode():
        logs = subject.loaded.model(input_ids=ids).logits[0].double().log_softmax(dim=-1)
    scored = ids[0, PROMPT:, None]
    return float(-logs[PROMPT - 1 : -1].gather(1, scored).mean())


def _elements(loaded: LoadedModel, text: list[int]) -> int:
    """Elements of K, or of V, of all rows; the last token is predicted, not fed."""
    config = loaded.model.config
    return (len(text) - 1) * config.num_hidden_layers * config.hidden_size


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command()
def growth(
    count: Annotated[int, typer.Option(min=1, help="Windows of each of the two texts.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed that draws the windows.")] = 0,
    device: Annotated[str, typer.Option(help="emulator, auto or a device uri.")] = "emulator",
    out: Annotated[Path, typer.Option(help="The page with the table.")] = Path("docs/growing-cache.md"),
) -> None:
    """Measure what a growing K/V cache costs under every rule for its scales, and write the page.

    Example: `python -m spatten.quality.growth --count 2 --out build/try.md`
    """
    quiet_libraries()
    with errors_to_exit_codes():
        out.parent.mkdir(parents=True, exist_ok=True)
        check_writable(out)
        costs = list(_costs(windows(count, seed), device))
        command = shlex.join(["python", "-m", "spatten.quality.growth", *sys.argv[1:]])
        write_atomic(out, page(costs, command))
    err().print(f"wrote {out}", soft_wrap=True)


def _costs(texts: Sequence[list[int]], uri: str) -> Iterator[tuple[Rule | None, Cost]]:
    """The float model first, then every rule."""
    loaded = load(MODEL)
    yield None, float_cost(loaded, texts)
    with open_device(uri) as device, progress(len(RULES) * len(texts)) as bar:
        for rule in RULES:
            bar.update(0, description=f"{rule.bits} bit, {rule.growth} {rule.headroom}")
            yield rule, cost_of(loaded, texts, rule, device, lambda: bar.advance(0))


HEADER = (
    "bits",
    "a louder row",
    "headroom",
    "perplexity",
    "change against float",
    "scales doubled",
    "elements clamped",
    "bytes written",
)

PAGE = """\
# Scales of a cache that grows

K and V are integers with one scale per layer and head, for K and for V alone. A BERT reads its whole text at
once, so its scales fit every row. The cache of a GPT-2 grows: its first rows, those of the prompt, choose the
scale, `headroom * max|x| / (2^(bits-1) - 1)`, and a later row may be louder than that. What happens then is
the schedule's `quantization.growth`:

- **`double`** (the default): the scale of that head is doubled until the row fits. The rows stored so far are
  halved, rounding half up, and written again. Nothing is ever clamped; each doubling costs the old rows one
  bit, and the host the bytes of one head's rows.
- **`saturate`**: the scale stays. Elements beyond it are clamped to `±(2^(bits-1) - 1)` and counted
  (`saturated` in a run's record). Nothing is written twice; `headroom` above 1 makes it rarer and every step
  coarser, below 1 (from 0.25 on) the other way round.

Here {count} windows of {window} tokens of text that the model was not trained on are read with a prompt of
{prompt} tokens only, so that nearly every row comes later than its scale; real prompts are longer and
doublings fewer. `whole` is the bound: the text at once, its scales chosen over all rows. Bytes written are
as a factor of what appending every row once takes.

Made by `{command}`. Brackets are 95 % intervals, bootstrap over windows.

{table}
"""


def page(costs: Sequence[tuple[Rule | None, Cost]], command: str) -> str:
    """The page, from the float cost first and one of every rule."""
    baseline = costs[0][1]
    once = {rule.bits: cost.written for rule, cost in costs if rule and rule.growth == "saturate"}
    rows = [_cells(rule, cost, baseline, once) for rule, cost in costs]
    return PAGE.format(
        count=len(baseline.surprise),
        window=WINDOW,
        prompt=PROMPT,
        command=command,
        table=markdown_table(HEADER, rows, text_columns=2),
    )


def _cells(rule: Rule | None, cost: Cost, baseline: Cost, once: dict[int, int]) -> list[str]:
    quality: Estimate = PERPLEXITY.estimate(cost.surprise)
    if rule is None:
        return ["float", "", "", quality_text(PERPLEXITY, quality), "baseline", "", "", ""]
    return [
        str(rule.bits),
        rule.growth,
        f"{rule.headroom:.1f}",
        quality_text(PERPLEXITY, quality),
        change_text(PERPLEXITY, PERPLEXITY.change(cost.surprise, baseline.surprise)),
        str(cost.rescaled),
        f"{100 * cost.saturated:.3f} %",
        f"{cost.written / once[rule.bits]:.2f}x",
    ]


if __name__ == "__main__":
    app()
