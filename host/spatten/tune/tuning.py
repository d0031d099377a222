# SPDX-License-Identifier: BSD-2-Clause
"""From a model, examples and a budget to a model folder that holds its schedule: the whole way."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, set_seed

from spatten_drivers import Device, open_device

from ..catalog import FOLDERS, RANDOM, check_vocabulary, from_hub
from ..errors import InputError, ModelError
from ..hf.families import family_of
from .budget import CHOSEN_ON, Bytes
from .data import COLUMNS, read_examples
from .knobs import Knobs, formats_for
from .measure import Measured, batched_scores, dense_answers, device_scores, expected_distance, expected_loss
from .metrics import lost_points
from .result import Outcome, Training, save_result
from .rules import RULES
from .search import Candidate, NoScheduleError, Search, knobs_of, widest
from .state import State, file_digests
from .tasks import KINDS, Feature, Retrieving, Scores, TuneTask, texts_of
from .trainer import Progress, Recipe, append, recipes, train

#: Where a tuning keeps its state, logs and checkpoints, within the output folder.
WORK = "tuning"
#: Tokens of the rows that a schedule is looked at with, and the fewest rows: short texts come in greater
#: number, as each has but one label.
LOOK_TOKENS, LOOK_LEAST = 4096, 32
#: A schedule that is looked at again is so on as many times the rows.
CLOSER = 4
#: Test texts that the report shows.
SHOWN = 4
#: Tokens of them that a GPT-2 goes on from.
SHOWN_PROMPT = 64


@dataclass(frozen=True)
class Effort:
    """How much work a tuning does.

    Attributes
    ----------
    screens : schedules looked at without training, for one budget: the paper's rule and a gentler one in all
        number formats, the best three of them in other shapes, and the best three then from priors, in any
        case: 39 for a BERT of 6 layers, 37 for such a GPT-2.
    trials : of those, how many are tried with some training; with a bound of loss one for each budget.
    trial_epochs : training of a trial.
    dense : training of the dense model that everything starts from; ``epochs`` 0 takes it as it is. What is
        tuned from a model that is not done learning stays below its control: with half of these epochs
        product reviews are 2 points short of what as long again makes of them.
    tuned : training of the result, with pruning, and of the control.
    examples : most training rows of a model; all if ``None``.
    fresh : what is tuned, and the control, learn from other rows than the dense model, as far as there are
        more than ``examples``. On rows that it knows by heart its answers are the labels, and a pruned model
        that follows it there learns little of how it answers elsewhere.
    look : development rows that a schedule is looked at with; ``None`` takes 32, or of short texts as many as
        have 4,096 tokens together. The best are looked at again, on four times as many.
    report : most development and test rows; all if ``None``.
    control : train the dense model as long again, for a comparison that more training does not flatter.
    """

    screens: int = 40
    trials: int = 2
    trial_epochs: float = 0.3
    dense: Recipe = field(default_factory=lambda: recipes()[0])
    tuned: Recipe = field(default_factory=lambda: recipes()[1])
    examples: int | None = 1600
    fresh: bool = True
    look: int | None = None
    report: int | None = 500
    control: bool = False

    def for_task(self, task: str) -> Effort:
        """Where rows are pairs half as many, and where they are windows few, for they take as long.

        A window has a label at each token, and those teach alone: a text model comes trained, elsewhere, and
        by its answers what is tuned would learn less of this text than its control does.
        """
        if task == Retrieving.name:
            return replace(self, examples=800)
        if task in KINDS and KINDS[task].generates:
            labels = replace(self.tuned, distillation=0.0)
            return replace(self, tuned=labels, examples=160, look=4, report=32)
        return self

    def given(
        self,
        *,
        examples: int | None = None,
        look: int | None = None,
        report: int | None = None,
        distillation: float | None = None,
    ) -> Effort:
        """With what is not ``None``: numbers of rows, where 0 are all, and the share of distillation."""
        counts = {"examples": examples, "look": look, "report": report}
        sized = replace(self, **{name: rows or None for name, rows in counts.items() if rows is not None})
        if distillation is None:
            return sized
        return replace(sized, tuned=replace(self.tuned, distillation=distillation))


def tune(
    model: str,
    data: str,
    task: str,
    output: str | Path,
    *,
    budget: float | None = None,
    max_loss: float | None = None,
    columns: Mapping[str, str] | None = None,
    max_tokens: int = 128,
    effort: Effort | None = None,
    rule: str = "cumulative",
    device: Device | str = "emulator",
    seed: int = 0,
    shared: str | Path | None = None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Fine-tune a model with pruning in the loop, search its schedule, measure it, and save it.

    Parameters
    ----------
    model : ``minilm``, ``gpt2-prose``, a folder or a hub id.
    data, columns : as for :func:`spatten.tune.data.read_examples`.
    task : ``classification``, ``regression``, ``retrieval``, ``qa`` (a BERT) or ``lm`` (a GPT-2).
    output : folder of the result; what an earlier call with the same arguments left is taken up.
    budget : K and V bytes, as a factor below dense 32 bit; or
    max_loss : most points lost (percent of perplexity for ``lm``) on the development rows.
    max_tokens : longer texts are cut; windows of ``lm`` are this long.
    effort : how much work is done; by default what two cores do within half an hour.
    rule : importance rule in training; the device knows ``cumulative`` only, so others are for study.
    device : where the result is measured, an open device or a uri.
    seed : of the parts of data without a split, of order, dropout, a new head, and the search.
    shared : folder of the dense model and its control, for tunings that differ in their budget alone: they
        are trained once. By default they stand in ``output``.

    Returns
    -------
    Outcome : the schedule, qualities and bytes, on the test rows and the device.

    Raises
    ------
    SpattenError : data, model or device do not fit, or nothing keeps the budget or bound.
    """
    _check(task, budget, max_loss, rule)
    effort = effort or Effort().for_task(task)
    _check_effort(effort)
    _check_output(model, Path(output))
    settings = {
        "model": model,
        "data": data,
        "task": task,
        "budget": budget,
        "max_loss": max_loss,
        "columns": dict(columns or {}),
        "max_tokens": max_tokens,
        "effort": asdict(effort),
        "rule": rule,
        "seed": seed,
        "compared": KINDS[task].compared,
        "formats": list(formats_for(KINDS[task].generates)),
    }
    files = file_digests(model, data)
    with ExitStack() as held:
        opened = held.enter_context(open_device(device)) if isinstance(device, str) else device
        counted = {"device configuration": f"{opened.config.digest:016x}"}
        base = state = held.enter_context(closing(State(Path(output) / WORK, settings, files | counted)))
        if shared is not None:
            base = held.enter_context(closing(State(Path(shared), _dense_settings(settings), files)))
        return _Tuning(settings, effort, Path(output), state, base, opened, progress).run()


def _dense_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Of the settings of a tuning those that its dense model, the control and their scores depend on."""
    names = ("model", "data", "task", "columns", "max_tokens", "seed")
    effort = {name: settings["effort"][name] for name in ("dense", "tuned", "examples", "fresh", "report")}
    return {**{name: settings[name] for name in names}, "effort": effort}


def _check(task: str, budget: float | None, max_loss: float | None, rule: str) -> None:
    if task not in KINDS:
        raise InputError(f"task is {task!r}; expected one of {sorted(COLUMNS)}")
    if rule not in RULES:
        raise InputError(f"rule is {rule!r}; expected one of {sorted(RULES)}")
    if budget is None and max_loss is None:
        raise InputError(
            "neither budget nor max_loss is given; expected one of them, such as a budget of 10x"
        )
    if budget is not None and max_loss is not None:
        raise InputError(f"budget is {budget:g} and max_loss is {max_loss:g}; expected one of them")
    if budget is not None and not budget >= 1.0:
        raise InputError(f"budget is {budget}; expected a factor of 1 or more")
    if max_loss is not None and not max_loss >= 0.0:
        raise InputError(f"max_loss is {max_loss}; expected points of 0 or more")


def _check_effort(effort: Effort) -> None:
    def check(name: str, value: float | None, least: float) -> None:
        if value is not None and not least <= value < math.inf:
            raise InputError(f"{name} is {value}; expected {least:g} or more")

    check("dense epochs", effort.dense.epochs, 0)
    for name, epochs in (("epochs", effort.tuned.epochs), ("trial epochs", effort.trial_epochs)):
        check(name, epochs, 0.01)
    for recipe in (effort.dense, effort.tuned):
        check("rate", recipe.rate, 1e-12)
        if not 0 <= recipe.distillation <= 1:
            raise InputError(f"distillation is {recipe.distillation}; expected a share from 0 to 1")
    for name, rows in (("training", effort.examples), ("development and test", effort.report)):
        check(f"rows of {name}", rows, 2)


def _check_output(model: str, output: Path) -> None:
    """The result's files may replace those of an earlier call, and no others."""
    if (output / "config.json").is_file() and not (output / WORK).is_dir():
        what = "the model itself" if Path(model).resolve() == output.resolve() else "a model"
        raise InputError(
            f"output {str(output)!r} holds {what}, which would be overwritten, and no tuning to go on with. "
            "Name another output, or delete that folder"
        )


class _Tuning:
    """One tuning, step by step; every step that is done stands in the state."""

    def __init__(
        self,
        settings: dict[str, Any],
        effort: Effort,
        output: Path,
        state: State,
        base: State,
        device: Device,
        progress: Progress,
    ) -> None:
        self.settings, self.effort, self.output = settings, effort, output
        self.state, self.base = state, base
        self.device, self.progress, self.work = device, progress, output / WORK
        self.seed, self.rule = settings["seed"], RULES[settings["rule"]]
        self.tokenizer, self.task = self._prepared()
        parts = self.task.examples
        progress("reading examples", 0, 1)
        self.train, self.development, self.test = (
            self.task.features(self.tokenizer, rows) for rows in (parts.train, parts.development, parts.test)
        )
        self.first, self.train = _lessons(self.train, effort)
        self.development, self.test = self.development[: effort.report], self.test[: effort.report]
        for name, part in (("training", self.train), ("development", self.development), ("test", self.test)):
            if len(part) < 2:
                raise InputError(
                    f"{len(part)} {name} rows can be used with max_tokens {self.task.max_tokens}; expected "
                    "2 or more. Add rows, or change max_tokens"
                )

    def run(self) -> Outcome:
        """All of it."""
        model = self._new_model()
        self.bytes = Bytes(model, self.task, self.development, self.device)
        if self.settings["budget"]:
            self._search(model).check(self.settings["budget"])
        self.state.save()
        self.base.save()
        self._train_dense(model)
        start = self._weights(model)
        chosen = (
            self._within_budget(model, start) if self.settings["budget"] else self._within_loss(model, start)
        )
        dense = self._in_float("dense on test rows", model, self.test)
        control = self._control(model, start) if self.effort.control else None
        schedule = chosen.knobs.schedule(f"tuned-{chosen.ratio:.0f}x")
        before = self._measured("untuned", model, chosen)
        training = self._if_it_helps(model, start, chosen)
        tuned = self._measured("tuned test", model, chosen) if training.helped else before
        outcome = Outcome(
            settings=self.settings,
            metric=self.task.metric,
            schedule=schedule,
            dense=dense,
            control=control,
            before=before,
            tuned=tuned,
            training=training,
            looked_at=self._looked_at(),
            shown=[self._text(feature) for feature in self.test[:SHOWN]],
            device=str(self.device),
        )
        save_result(self.output, model, self.tokenizer, outcome)
        return outcome

    def _text(self, feature: Feature) -> str:
        ids = feature["input_ids"][: SHOWN_PROMPT if self.task.generates else None]
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    # ------------------------------------------------------------------------------------ models

    def _prepared(self) -> tuple[Any, TuneTask]:
        name, settings = self.settings["model"], self.settings
        if name in RANDOM:
            raise ModelError(
                f"model {name!r} has random weights, from which nothing is tuned; expected one of "
                f"{sorted(FOLDERS)}, a folder or a hub id"
            )
        self.source = FOLDERS[name]() if name in FOLDERS else name
        tokenizer = from_hub(name, lambda: AutoTokenizer.from_pretrained(self.source))
        check_vocabulary(name, tokenizer)
        examples = read_examples(settings["data"], settings["task"], settings["columns"], self.seed)
        task = KINDS[settings["task"]](examples, settings["max_tokens"])
        task.follow(from_hub(name, lambda: AutoConfig.from_pretrained(self.source)))
        return tokenizer, task

    def _new_model(self) -> PreTrainedModel:
        """The base with the task's head, a new one if it has none."""
        set_seed(self.seed)
        options = {**self.task.config(), "attn_implementation": "sdpa"}
        name = self.settings["model"]
        # transformers would take the precision of the checkpoint, and train in it.
        options |= {"dtype": torch.float32, "ignore_mismatched_sizes": True, "output_loading_info": True}
        model, loaded = from_hub(name, lambda: self.task.head.from_pretrained(self.source, **options))
        if family_of(model.base_model).causal != self.task.generates:
            kind = "a GPT-2" if self.task.generates else "a BERT"
            raise ModelError(f"model {name!r} is a {model.config.model_type}; {self.task.name} needs {kind}")
        longest = min(model.config.max_position_embeddings, self.device.config.max_sequence)
        if self.task.max_tokens > longest:
            raise InputError(f"max_tokens is {self.task.max_tokens}; {name} on {self.device} takes {longest}")
        if self.effort.dense.epochs == 0 and _new_head(model, loaded):
            raise ModelError(
                f"model {name!r} has no head for this {self.task.name}, and dense epochs are 0: nothing "
                "would train a new one before the search. Give it dense epochs, or a model that has the head"
            )
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def _train_dense(self, model: PreTrainedModel) -> None:
        """The dense model that everything starts from, trained for the task if that is wanted."""
        if self.effort.dense.epochs > 0:
            self._trained(model, None, "dense", None)

    def _trained(
        self,
        model: PreTrainedModel,
        start: dict[str, Any] | None,
        name: str,
        chosen: Candidate | None,
        recipe: Recipe | None = None,
    ) -> None:
        """Train from ``start``, or take the weights of an earlier call; they stand in ``tuning/NAME.pt``."""
        work = self.work if chosen else self.base.path.parent
        path = work / f"{name}.pt"
        if path.is_file():
            model.load_state_dict(torch.load(path, map_location=model.device, weights_only=True))
            return
        if start is not None:
            model.load_state_dict(start)
        recipe = recipe or (self.effort.tuned if chosen else self.effort.dense)
        follows = chosen is not None and recipe.distillation > 0
        train(
            model,
            self.task,
            self.first if start is None else self.train,
            replace(recipe, seed=self.seed),
            work,
            name,
            schedule=chosen.knobs.schedule() if chosen else None,
            rule=self.rule,
            teacher=deepcopy(model).eval() if follows else None,
            progress=self.progress,
        )
        if not all(bool(torch.isfinite(weights).all()) for weights in model.state_dict().values()):
            raise InputError(
                f"training {name!r} at a rate of {recipe.rate:g} came to weights that are no numbers; choose "
                "a lower rate and another output"
            )
        scratch = path.with_suffix(".part")
        torch.save(model.state_dict(), scratch)
        scratch.replace(path)
        shutil.rmtree(work / name, ignore_errors=True)

    def _if_it_helps(self, model: PreTrainedModel, start: dict[str, Any], chosen: Candidate) -> Training:
        """Train the result; where the development rows would rather have it undone, it is."""
        schedule = chosen.knobs.schedule()

        def loss() -> float:
            self.progress("loss on development rows", 0, 1)
            return expected_loss(model, self.task, self.development, schedule, self.rule)

        def lost() -> float:
            self.progress("scores of development rows", 0, 1)
            tuned = batched_scores(model, self.task, self.development, schedule, self.rule).scores
            model.load_state_dict(start)
            before = batched_scores(model, self.task, self.development, schedule, self.rule).scores
            self._trained(model, start, "tuned", chosen)
            return lost_points(self.task.metric, tuned, before).value

        untuned = self.state.once("loss untuned", loss)
        self._trained(model, start, "tuned", chosen)
        training = Training(untuned, self.state.once("loss tuned", loss))
        if not training.helped:
            training = replace(training, lost=self.state.once("lost by training", lost))
        append(self.work / "log.jsonl", {"training": asdict(training)})
        if not training.helped:
            model.load_state_dict(start)
        return training

    @staticmethod
    def _weights(model: PreTrainedModel) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    # ------------------------------------------------------------------------------------ search

    def _search(self, model: PreTrainedModel) -> Search:
        """A search that looks with ``model``, which is dense when it starts to."""
        causal = self.task.generates
        start = Knobs.paper(model.config.num_hidden_layers, generates=causal)
        rows = self._look_rows()

        @cache
        def wanted(rows: int) -> list[torch.Tensor]:
            return dense_answers(model, self.task, self.development[:rows])

        def distance(rows: int, knobs: Knobs) -> float:
            look, schedule = self.development[:rows], knobs.schedule()
            found = expected_distance(model, self.task, look, wanted(rows), schedule, self.rule)
            append(self.work / "log.jsonl", {"look": knobs.to_dict(), "rows": len(look), "distance": found})
            return found

        return Search(
            start,
            self.bytes,
            partial(distance, rows),
            self.state,
            closer=partial(distance, CLOSER * rows) if rows < len(self.development) else None,
            screens=self.effort.screens,
            seed=self.seed,
            progress=self.progress,
        )

    def _look_rows(self) -> int:
        if self.effort.look is not None:
            return self.effort.look
        tokens = sum(len(text) for feature in self.development for text in texts_of(feature))
        return max(LOOK_LEAST, LOOK_TOKENS * len(self.development) // tokens)

    def _within_budget(self, model: PreTrainedModel, start: dict[str, Any]) -> Candidate:
        """The best of a few trials."""
        finalists = self._search(model).finalists(self.settings["budget"], self.effort.trials)
        if len(finalists) == 1:
            return self._settled(finalists[0])
        losses = [self._trial(model, start, c, f"trial-{i}")["loss"] for i, c in enumerate(finalists)]
        model.load_state_dict(start)
        return self._settled(finalists[int(np.argmin(losses))])

    def _settled(self, chosen: Candidate) -> Candidate:
        """The share of tokens that keeps the budget on more examples than a look takes."""

        def work() -> dict[str, Any]:
            self.progress("counting bytes", 0, 1)
            looked = chosen.knobs, chosen.ratio
            found = self.bytes.fitted(chosen.knobs, self.settings["budget"], CHOSEN_ON, looked)
            if found is None:
                raise NoScheduleError(
                    f"the schedule that was chosen reads more than {self.settings['budget']:g}x allows on "
                    f"{CHOSEN_ON} examples; ask for less, or give longer texts"
                )
            return {"knobs": found[0].to_dict(), "ratio": found[1]}

        settled = self.state.once("settled", work)
        return replace(chosen, knobs=knobs_of(settled["knobs"]), ratio=settled["ratio"])

    def _within_loss(self, model: PreTrainedModel, start: dict[str, Any]) -> Candidate:
        """The fewest bytes at which a trial loses no more than allowed on the development rows."""
        search, found = self._search(model), dict[float, Candidate]()
        dense = self._in_float("dense on development rows", model, self.development)

        def held(budget: float) -> bool:
            model.load_state_dict(start)
            try:
                found[budget] = search.finalists(budget, 1)[0]
            except NoScheduleError:
                return False
            tried = self._trial(model, start, found[budget], f"trial-{budget:g}x", dense.scores)
            return bool(tried["lost"] <= self.settings["max_loss"])

        best = widest(held)
        model.load_state_dict(start)
        if not found:
            raise NoScheduleError("no budget that was tried can be kept on these examples; give longer texts")
        if best is None:
            raise InputError(
                f"every trial lost more than {self.settings['max_loss']:g} points on the development rows; "
                "allow more, train longer, or give more examples"
            )
        return found[best]

    def _trial(
        self,
        model: PreTrainedModel,
        start: dict[str, Any],
        candidate: Candidate,
        name: str,
        dense: Scores | None = None,
    ) -> dict[str, Any]:
        """Some training, then loss, and points lost against ``dense``, on the development rows."""

        def work() -> dict[str, Any]:
            recipe = replace(self.effort.tuned, epochs=self.effort.trial_epochs)
            self._trained(model, start, name, candidate, recipe)
            schedule = candidate.knobs.schedule()
            result = {
                "knobs": candidate.knobs.to_dict(),
                "ratio": candidate.ratio,
                "distance": candidate.distance,
                "loss": expected_loss(model, self.task, self.development, schedule, self.rule),
            }
            if dense is not None:
                scores = batched_scores(model, self.task, self.development, schedule, self.rule).scores
                result["lost"] = lost_points(self.task.metric, scores, dense).value
            append(self.work / "log.jsonl", {"trial": name, **result})
            return result

        found: dict[str, Any] = self.state.once(name, work)
        (self.work / f"{name}.pt").unlink(missing_ok=True)
        return found

    def _looked_at(self) -> list[dict[str, Any]]:
        """Everything that was tried, for the report and the plot."""
        found = [(key.partition(" ")[0], result) for key, result in self.state.results.items()]
        return [
            {"kind": kind, **result, "knobs": knobs_of(result["knobs"])}
            for kind, result in found
            if isinstance(result, dict) and "knobs" in result
        ]

    # ------------------------------------------------------------------------------------ measuring

    def _in_float(
        self,
        name: str,
        model: PreTrainedModel,
        features: list[Feature],
        prepare: Callable[[], None] = lambda: None,
    ) -> Measured:
        """Once for all tunings that share the dense model; what it takes is made ready only then."""

        def work() -> dict[str, Any]:
            prepare()
            self.progress("scoring in float", 0, 1)
            return batched_scores(model, self.task, features).to_dict()

        return Measured.of(self.base.once(name, work))

    def _control(self, model: PreTrainedModel, start: dict[str, Any]) -> Measured:
        """The dense model trained as long again."""
        ready = partial(self._trained, model, start, "control", None, self.effort.tuned)
        found = self._in_float("control on test rows", model, self.test, ready)
        (self.base.path.parent / "control.pt").unlink(missing_ok=True)
        model.load_state_dict(start)
        return found

    def _measured(self, name: str, model: PreTrainedModel, chosen: Candidate) -> Measured:
        """Scores and bytes of the test rows on the device."""
        done = iter(range(1, len(self.test) + 1))

        def step() -> None:
            self.progress(f"measuring, {name}", next(done), len(self.test))

        def work() -> dict[str, Any]:
            schedule = chosen.knobs.schedule()
            return device_scores(model, self.task, self.test, schedule, self.device, step).to_dict()

        return Measured.of(self.state.once(f"{name} on {self.device}", work))


def _lessons(rows: list[Feature], effort: Effort) -> tuple[list[Feature], list[Feature]]:
    """Training rows of the dense model, and of what starts from it."""
    first = rows[: effort.examples]
    if not effort.fresh or effort.dense.epochs == 0:
        return first, first
    return first, (rows[len(first) :] + first)[: len(first)]


def _new_head(model: PreTrainedModel, loaded: Mapping[str, Any]) -> bool:
    """Whether weights behind the base were made up; a pooler that a base lacks is not used."""
    made = [*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])]
    inside = f"{model.base_model_prefix}."
    return model is not model.base_model and any(not name.startswith(inside) for name in made)
