# SPDX-License-Identifier: BSD-2-Clause
"""From trained weights to the folder that ships: float16, standard names, a card and a licence."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

from ..errors import ModelError

#: What a shipped folder may weigh, in bytes.
LIMIT = 16_000_000


def export(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, texts: dict[str, str], folder: Path
) -> None:
    """Write the folder whole or not at all; ``texts`` are further files (card, licence) by name.

    The weights are stored in float16; config.json asks for float32, so that ``from_pretrained`` computes in
    float32, which is what a CPU does well.

    Raises
    ------
    ModelError : a weight does not fit float16, or the folder would be larger than ``LIMIT``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        tokenizer.save_pretrained(made)
        _save(halved(model), made)
        for name, text in texts.items():
            (made / name).write_text(text, encoding="utf-8")
        _check_size(made)
        for path in made.iterdir():
            path.chmod(0o644)  # safetensors lets only the owner read
        _replace(folder, made, Path(scratch, "former"))


def halved(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """The model as it will be loaded: weights rounded to float16, computed in float32, standard config."""
    settings = model.config.to_diff_dict() | {"activation_function": "gelu_new"}
    shipped = GPT2LMHeadModel(GPT2Config.from_dict(settings))
    weights = {name: weight.detach().half() for name, weight in model.state_dict().items()}
    wild = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if wild:
        raise ModelError(
            f"weights {wild[:3]} do not fit float16; expected values below 65504: train at a lower rate"
        )
    shipped.load_state_dict(weights)
    end = model.config.eos_token_id
    shipped.generation_config = GenerationConfig(bos_token_id=end, eos_token_id=end, pad_token_id=end)
    return shipped.eval()


def _save(shipped: GPT2LMHeadModel, folder: Path) -> None:
    """Weights in float16 beside a config that asks for float32; the float32 model is spent."""
    shipped.half().save_pretrained(folder)
    shipped.config.dtype = "float32"
    shipped.config.save_pretrained(folder)


def _check_size(folder: Path) -> None:
    size = folder_bytes(folder)
    if size > LIMIT:
        raise ModelError(f"the model is {size} bytes; expected at most {LIMIT}: make it smaller")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _replace(folder: Path, made: Path, former: Path) -> None:
    """Two renames; between them, for an instant, there is no folder, but never half of one."""
    if folder.exists():
        folder.rename(former)
    try:
        made.rename(folder)
    except OSError:
        if former.exists():
            former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)
