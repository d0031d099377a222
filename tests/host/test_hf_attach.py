# SPDX-License-Identifier: BSD-2-Clause
"""Attaching a model by name or by hand, leaving it without a trace, and every way to be told no."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertForQuestionAnswering,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    DynamicCache,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedModel,
    StaticCache,
    pipeline,
)

import spatten
from spatten import Schedule
from spatten.errors import InputError, ModelError
from spatten.hf import Session, auto_attach_disabled
from spatten.hf import session as session_module
from spatten.hf.session import session_of
from spatten_drivers import Device, Emulator, Quantization, open_device
from spatten_drivers.errors import ConfigError, DeviceError, OperandError, SpattenError
from tests.host.tiny_models import sharp_bert, sharp_gpt2, tiny_bert, tiny_gpt2

PRUNED = Schedule(tokens=(1.0, 0.8, 0.6, 0.3), heads=(1.0, 1.0, 0.75, 0.5))


@pytest.fixture
def by_name(device_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that attach by themselves take the device of the tests."""
    monkeypatch.setenv("SPATTEN_DEVICE", device_uri)


def tokens(rows: int, columns: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(4, 18, (rows, columns), generator=torch.Generator().manual_seed(seed))


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ------------------------------------------------------------------------------- by name

OURS, THEIRS = "import spatten\n", "from transformers import AttentionInterface, AttentionMaskInterface\n"
ORDERS = {
    "before": OURS + THEIRS,
    "after": THEIRS + OURS,
    "after all of it": "import transformers.modeling_utils\n" + OURS + THEIRS,
    "attach first": "from spatten.hf import attach\n" + THEIRS,
    "attach last": THEIRS + "from spatten import attach\n",
    "a module first": "import spatten.hf.forward\n" + THEIRS,
    "a module last": "from transformers import AutoModel\nimport spatten.hf.cascade\n" + THEIRS,
}


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS)
def test_import_makes_the_name_known_to_transformers(imports: str) -> None:
    known = "print('spatten' in AttentionInterface() and 'spatten' in AttentionMaskInterface())"
    assert python(imports + "import transformers.modeling_utils\n" + known) == "True"


def test_import_alone_is_cheap() -> None:
    assert python("import sys, spatten; print({'torch', 'transformers'} & set(sys.modules))") == "set()"


def test_unknown_attribute_of_the_package_is_named() -> None:
    with pytest.raises(AttributeError, match="module 'spatten' has no attribute 'atach'"):
        spatten.atach  # noqa: B018  looking it up is the test


MAKERS: dict[str, tuple[Callable[[Path], str], Any]] = {
    "bert": (tiny_bert, AutoModel),
    "classifier": (lambda folder: tiny_bert(folder, labels=3), AutoModelForSequenceClassification),
    "gpt2": (tiny_gpt2, AutoModelForCausalLM),
}


@pytest.mark.parametrize("name", MAKERS)
def test_model_loaded_by_name_runs_as_one_attached_by_hand(
    name: str, tmp_path: Path, device: Device, by_name: None
) -> None:
    make, auto = MAKERS[name]
    folder, ids = make(tmp_path), tokens(2, 12)
    model = auto.from_pretrained(folder, attn_implementation="spatten")
    assert session_of(model.base_model) is None  # nothing is opened before it is needed
    by_itself = model(ids)[0]
    session = session_of(model.base_model)
    assert session is not None
    assert session.automatic
    assert len(session.record.layers) == 2 * 4
    plain = auto.from_pretrained(folder)
    assert not torch.equal(plain(ids)[0], by_itself)
    with spatten.attach(plain, device=device), torch.no_grad():
        assert torch.equal(plain(ids)[0], by_itself)


def test_pipeline_takes_the_name(tmp_path: Path, by_name: None) -> None:
    folder, call = tiny_gpt2(tmp_path), {"max_new_tokens": 4, "do_sample": False}
    plain = pipeline("text-generation", folder, device="cpu")
    ours = pipeline("text-generation", folder, device="cpu", model_kwargs={"attn_implementation": "spatten"})
    assert ours("the dark sea", **call) == plain("the dark sea", **call)
    assert session_of(plain.model.base_model) is None
    assert session_of(ours.model.base_model).record.layers[-1].step == 3


def test_base_model_inside_a_head_attaches_too(by_name: None) -> None:
    model = sharp_bert(BertForQuestionAnswering, attn_implementation="spatten")
    assert len(model.bert(tokens(1, 5)).last_hidden_state[0]) == 5
    assert session_of(model.base_model) is not None


@pytest.mark.parametrize("threads", [1, 2])
def test_models_of_other_threads_are_found_while_an_attached_one_runs(
    threads: int, device: Device, by_name: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone, nobody looks for any: that would slow every module down."""
    monkeypatch.setattr("threading.active_count", lambda: threads)
    model, other, ids = sharp_bert(), sharp_bert(attn_implementation="spatten"), tokens(1, 5)

    def call_other(*_: Any) -> None:
        with nullcontext() if threads > 1 else pytest.raises(ModelError, match="not attached"):
            other(ids)

    with spatten.attach(model, device=device), model.encoder.layer[1].register_forward_hook(call_other):
        model(ids)
    assert (session_of(other) is not None) == (threads > 1)
    other(ids)
    assert session_of(other) is not None


@pytest.mark.parametrize("given", ["paper-bert", PRUNED.to_dict()], ids=["preset", "table"])
def test_schedule_in_the_config_is_saved_loaded_and_used(
    given: str | dict[str, Any], tmp_path: Path, by_name: None
) -> None:
    model = AutoModel.from_pretrained(tiny_bert(tmp_path))
    model.config.spatten_schedule = given
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, attn_implementation="spatten")
    loaded(tokens(1, 20))
    records = session_of(loaded).record.layers
    expected = spatten.preset(given, 4, 20) if isinstance(given, str) else PRUNED
    plan = expected.plan(4)
    assert [len(record.keys) for record in records] == [plan.tokens(layer, 20) for layer in range(4)]
    assert len(records[-1].keys) < 20


def test_device_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPATTEN_DEVICE", "emulator?preset=ecp5-25f")
    model = sharp_bert(attn_implementation="spatten")
    model(tokens(1, 5))
    assert session_of(model).device.config.max_sequence == 512


def test_wrong_device_of_the_environment_is_an_error_at_the_first_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPATTEN_DEVICE", "abacus")
    model = sharp_bert(attn_implementation="spatten")
    with pytest.raises(
        DeviceError,
        match="no device is known by 'abacus'; expected auto or one of pynq, litex, verilator, emulator",
    ):
        model(tokens(1, 5))


def test_another_attention_ends_an_automatic_session(by_name: None) -> None:
    model, ids = sharp_bert(), tokens(1, 9)
    before = model(ids)[0]
    clean = traces(model)
    model.set_attn_implementation("spatten")
    assert not torch.equal(model(ids)[0], before)
    model.set_attn_implementation("sdpa")
    assert torch.equal(model(ids)[0], before)
    assert traces(model) == clean


def test_attach_by_hand_replaces_an_automatic_session(device: Device, by_name: None) -> None:
    model = sharp_bert(attn_implementation="spatten")
    model(tokens(1, 9))
    with spatten.attach(model, schedule=PRUNED, device=device) as session:
        model(tokens(1, 20))
        assert session_of(model) is session
        assert len(session.record.layers[-1].keys) == 6


def test_nothing_attaches_while_it_is_disabled(by_name: None) -> None:
    model = sharp_bert(attn_implementation="spatten")
    with auto_attach_disabled(), auto_attach_disabled(), pytest.raises(ModelError, match="not attached"):
        model(tokens(1, 9))
    model(tokens(1, 9))
    assert session_of(model) is not None


# ------------------------------------------------------------------------------- without a trace


def traces(model: PreTrainedModel) -> dict[str, Any]:
    """All that attaching could leave behind: attributes and hooks of every module, and the config."""

    def value(item: Any) -> Any:
        return list(item.items()) if isinstance(item, dict) else item

    found: dict[str, Any] = {"config": model.config.to_dict(), "attention": model.config._attn_implementation}
    for name, module in model.named_modules():
        found[name] = {key: value(item) for key, item in module.__dict__.items() if "param" not in key}
    return found


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", [BertModel, BertForQuestionAnswering, GPT2Model, GPT2LMHeadModel])
def test_detached_model_is_as_it_was(kind: type[PreTrainedModel], attention: str, device: Device) -> None:
    make = sharp_bert if kind.__name__.startswith("Bert") else sharp_gpt2
    model, ids = make(kind, attn_implementation=attention), tokens(2, 12)
    before, bits, names = traces(model), model(ids)[0], [*model.state_dict()]
    with spatten.attach(model, schedule=PRUNED, device=device):
        assert model.config._attn_implementation == "spatten"
        assert traces(model) != before
        assert [*model.state_dict()] == names
        model(ids)
    assert traces(model) == before
    assert torch.equal(model(ids)[0], bits)


def test_model_that_failed_is_left_without_a_trace(device: Device) -> None:
    model = sharp_gpt2()
    before = traces(model)
    with pytest.raises(InputError), spatten.attach(model, device=device):
        model(tokens(1, 65))
    assert traces(model) == before


def test_users_own_forward_and_hooks_stay(device: Device) -> None:
    model, seen = sharp_bert(), []
    block = model.encoder.layer[1]
    original = block.forward
    block.forward = lambda *args, **kwargs: seen.append("forward") or original(*args, **kwargs)
    own = block.forward
    block.register_forward_hook(lambda *_: seen.append("hook"))
    with spatten.attach(model, device=device):
        model(tokens(1, 5))
    assert seen == ["forward", "hook"]
    assert block.forward is own


def test_saved_while_attached_is_the_plain_model(tmp_path: Path, device: Device) -> None:
    model = sharp_bert()
    with spatten.attach(model, schedule=PRUNED, device=device):
        model.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    assert "spatten" not in text
    assert torch.equal(BertModel.from_pretrained(tmp_path)(tokens(1, 9))[0], model(tokens(1, 9))[0])


def test_attached_model_can_be_switched_to_eager_and_back(device: Device) -> None:
    model, ids = sharp_bert(), tokens(1, 9)
    plain = model(ids)[0]
    with spatten.attach(model, device=device) as session:
        ours = model(ids)[0]
        model.set_attn_implementation("sdpa")
        assert torch.equal(model(ids)[0], plain)
        model.set_attn_implementation("spatten")
        assert torch.equal(model(ids)[0], ours)
    assert len(session.record.layers) == 2 * 4


def test_call_that_broke_off_between_two_blocks_leaves_the_next_alone(device: Device) -> None:
    model, ids = sharp_bert(), tokens(1, 9)
    plain = model(ids)[0]

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with spatten.attach(model, device=device):
        ours = model(ids)[0]
        with model.encoder.layer[2].register_forward_pre_hook(stop), pytest.raises(KeyboardInterrupt):
            model(ids)
        model.set_attn_implementation("sdpa")
        assert torch.equal(model(ids)[0], plain)
        model.set_attn_implementation("spatten")
        assert torch.equal(model(ids)[0], ours)


def test_detaching_twice_is_harmless(device: Device) -> None:
    model = sharp_bert()
    session = spatten.attach(model, device=device)
    session.detach()
    before = traces(model)
    session.detach()
    assert traces(model) == before


def test_call_after_a_failed_one_is_clean(device: Device) -> None:
    model, ids = sharp_bert(), tokens(1, 9)
    with torch.no_grad(), spatten.attach(model, device=device) as session:
        model(ids)
        first, uploaded = session.record.digest, session.record.uploaded_bytes
        bias = model.encoder.layer[2].attention.self.key.bias
        bias += torch.nan
        session.reset_record()
        with pytest.raises(OperandError):
            model(ids)
        assert 0 < session.record.uploaded_bytes < uploaded
        bias.copy_(sharp_bert().encoder.layer[2].attention.self.key.bias)
        session.reset_record()
        model(ids)
        assert session.record.digest == first


def test_row_that_fails_does_not_disturb_the_next_call(device: Device) -> None:
    model = sharp_bert()
    with torch.no_grad(), spatten.attach(model, device=device) as session:
        good = model.embeddings.word_embeddings(tokens(3, 9))
        model(inputs_embeds=good)
        first, taken = session.record.digest, device.allocator.bytes_taken
        bad = good.clone()
        bad[1] = torch.nan
        with pytest.raises(OperandError, match="NaN"):
            model(inputs_embeds=bad)
        session.reset_record()
        model(inputs_embeds=good)
        gc.collect()
        assert session.record.digest == first
        assert device.allocator.bytes_taken == taken


class Counted(Emulator):
    """An emulator that counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """Devices that attach() opened by a URI."""
    made: list[Counted] = []
    monkeypatch.setattr(session_module, "open_device", lambda *_, **__: made.append(Counted()) or made[-1])
    return made


def test_device_that_attach_opened_is_closed_and_one_that_was_given_is_not(opened: list[Counted]) -> None:
    with spatten.attach(sharp_bert(), device="emulator"):
        assert opened[0].closed == 0
    assert opened[0].closed == 1
    with spatten.attach(sharp_bert(), device=(own := Counted())):
        pass
    assert own.closed == 0


def test_device_is_closed_when_attaching_fails(opened: list[Counted]) -> None:
    model = sharp_bert(num_attention_heads=8)
    before = traces(model)
    with pytest.raises(OperandError):
        spatten.attach(model, device="emulator")
    assert opened[0].closed == 1
    assert traces(model) == before


def test_device_memory_is_given_back(device_uri: str) -> None:
    bert, gpt2, ids = sharp_bert(), sharp_gpt2(), tokens(2, 12)
    with open_device(device_uri) as device:
        with spatten.attach(bert, device=device):
            bert(tokens(1, 64))
            gc.collect()
            assert device.allocator.bytes_taken == 0
        with spatten.attach(gpt2, device=device) as session:
            gpt2.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, num_beams=3)
            gpt2(ids, use_cache=False)
            with pytest.raises(InputError):
                gpt2(tokens(1, 65))
            cache = DynamicCache()
            gpt2(ids, past_key_values=cache)
            grown = device.allocator.bytes_taken
            assert grown > 0
            del cache
            gc.collect()
            assert device.allocator.bytes_taken == 0
        del session
        gc.collect()
        assert device.allocator.bytes_taken == 0


def test_detached_session_holds_no_device_memory(device_uri: str) -> None:
    model, ids = sharp_gpt2(), tokens(2, 12)
    with open_device(device_uri) as device:
        with spatten.attach(model, device=device) as session:
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=5)
        gc.collect()
        assert len(session.record.layers) == 5 * 4 * 2
        assert device.allocator.bytes_taken == 0


# ------------------------------------------------------------------------------- being told no


def nan(model: PreTrainedModel, value: float) -> PreTrainedModel:
    with torch.no_grad():
        model.base_model.encoder.layer[0].attention.self.key.weight[0, 0] = value
    return model


def with_mask(mask: torch.Tensor) -> Callable[[PreTrainedModel], Any]:
    return lambda model: model(tokens(2, 6), attention_mask=mask)


def with_cache(cache: Any) -> Callable[[PreTrainedModel], Any]:
    return lambda model: model(tokens(1, 3), past_key_values=cache(model))


def filled_by_eager(model: PreTrainedModel) -> DynamicCache:
    cache = DynamicCache()
    sharp_gpt2()(tokens(1, 7), past_key_values=cache)
    return cache


def ours(model: PreTrainedModel) -> DynamicCache:
    cache = DynamicCache()
    model(tokens(1, 3), past_key_values=cache)
    return cache


def values_alone() -> PreTrainedModel:
    """Frozen, but for what the last block makes values of, as an adapter would train it."""
    model = sharp_bert()
    model.requires_grad_(False)
    model.encoder.layer[-1].attention.self.value.requires_grad_(True)
    return model


def train(model: PreTrainedModel) -> Any:
    try:
        return model.train()(tokens(1, 5))
    finally:
        model.eval()


def packed(model: PreTrainedModel) -> Any:
    return model(tokens(1, 6), position_ids=torch.tensor([[0, 1, 2, 0, 1, 2]]), use_cache=False)


#: What cannot be attached: (model, arguments of attach, error, all that the message must say).
REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], type[SpattenError], list[str]]] = {
    "another family": (
        lambda: DistilBertModel(
            DistilBertConfig(vocab_size=30, dim=64, n_layers=1, n_heads=2, hidden_dim=64)
        ),
        {},
        ModelError,
        ["DistilBertModel is a distilbert", "expected a model of ['bert', 'gpt2']"],
    ),
    "decoding BERT": (
        lambda: sharp_bert(is_decoder=True),
        {},
        ModelError,
        ["BertModel as a decoder is not supported", "expected a BERT that encodes"],
    ),
    "cross attention": (
        lambda: sharp_gpt2(add_cross_attention=True),
        {},
        ModelError,
        ["GPT2Model with cross attention is not supported", "a GPT-2 without cross attention"],
    ),
    "head dimension": (
        lambda: sharp_bert(num_attention_heads=8),
        {"device": "emulator"},
        OperandError,
        ["head dimension 16 is not supported by emulator", "it supports (32, 64)", "Use another model"],
    ),
    "too many heads": (
        lambda: sharp_bert(hidden_size=544, num_attention_heads=17, num_hidden_layers=1),
        {},
        OperandError,
        ["17 heads a layer", "works on 1 to"],
    ),
    "schedule of wrong length": (
        sharp_bert,
        {"schedule": Schedule(tokens=(1.0, 0.5, 0.5))},
        ConfigError,
        ["tokens has 3 ratios and the model 4 layers", "expected one ratio per layer"],
    ),
    "unknown schedule": (
        sharp_bert,
        {"schedule": "paper"},
        ConfigError,
        ["schedule is 'paper'", "expected one of ['dense',", "or a .toml or .json file"],
    ),
    "operands too wide": (
        sharp_bert,
        {"device": "emulator", "schedule": Schedule(quantization=Quantization.progressive(12, 4))},
        ConfigError,
        ["K or V of 16 bits", "works on at most 12"],
    ),
    "unknown device": (
        sharp_bert,
        {"device": "abacus"},
        DeviceError,
        ["no device is known by 'abacus'", "expected auto or one of pynq, litex, verilator, emulator"],
    ),
    "no board": (
        sharp_bert,
        {"device": "emulator", "require_board": True},
        DeviceError,
        ["a board is required, and 'emulator' is not one", "name a board or leave --require-board out"],
    ),
    "unknown kernel": (
        sharp_bert,
        {"device": "emulator", "kernel": "abacus"},
        ConfigError,
        ["kernel is 'abacus'", "expected"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_attached_is_refused_and_left_alone(name: str, device: Device) -> None:
    make, arguments, kind, said = REFUSED[name]
    model = make()
    before = traces(model)
    with pytest.raises(kind) as caught:
        spatten.attach(model, **{"device": device, **arguments})
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert traces(model) == before


def test_attaching_twice_is_refused(device: Device) -> None:
    model = sharp_bert(BertForQuestionAnswering)
    with spatten.attach(model, device=device) as session:
        for again in (model, model.bert):
            said = rf"is attached to {device.name} .* already; detach\(\) it first"
            with pytest.raises(ModelError, match=said):
                spatten.attach(again, device=device)
        assert session_of(model.base_model) is session


#: What an attached model refuses: (model, call, error, all that the message must say).
BAD_CALLS: dict[
    str, tuple[Callable[[], PreTrainedModel], Callable[[PreTrainedModel], Any], type[SpattenError], list[str]]
] = {
    "NaN": (
        lambda: nan(sharp_bert(), torch.nan),
        lambda model: model(tokens(1, 5)),
        OperandError,
        ["activations hold NaN or infinity in head(s) [0]", "expected finite", "Check the model's weights"],
    ),
    "infinity": (
        lambda: nan(sharp_bert(), torch.inf),
        lambda model: model(tokens(1, 5)),
        OperandError,
        ["NaN or infinity in head(s) [0]", "expected finite numbers", "Check the model's weights and inputs"],
    ),
    "training": (
        sharp_bert,
        train,
        ModelError,
        ["the model is in training mode", "inference only", "call model.eval() first"],
    ),
    "gradient": (
        sharp_bert,
        lambda model: model(tokens(1, 5))[0].sum().backward(),
        ModelError,
        ["no gradient", "train with attn_implementation='eager' or 'sdpa'"],
    ),
    "gradient of values alone": (
        values_alone,
        lambda model: model(tokens(1, 5))[0].sum().backward(),
        ModelError,
        ["no gradient", "train with attn_implementation='eager' or 'sdpa'"],
    ),
    "attentions": (
        sharp_bert,
        lambda model: model(tokens(1, 5), output_attentions=True),
        ModelError,
        ["output_attentions is not defined here", "see session.record", "attn_implementation='eager'"],
    ),
    "attentions of a generation": (
        sharp_gpt2,
        lambda model: model.generate(
            tokens(1, 5), max_new_tokens=2, output_attentions=True, return_dict_in_generate=True
        ),
        ModelError,
        ["output_attentions is not defined here", "Leave it out"],
    ),
    "too long for the model": (
        sharp_bert,
        lambda model: model(tokens(1, 65)),
        InputError,
        ["the input needs 65 positions", "BertModel has 64", "Truncate or split it"],
    ),
    "too long a generation": (
        sharp_gpt2,
        lambda model: model.generate(tokens(1, 60), max_new_tokens=9, do_sample=False),
        InputError,
        ["the input needs 65 positions", "GPT2Model has 64", "Truncate or split it"],
    ),
    "empty": (
        sharp_bert,
        lambda model: model(torch.zeros(1, 0, dtype=torch.long)),
        InputError,
        ["the input is empty, [1, 0]", "expected at least one token"],
    ),
    "a row of padding only": (
        sharp_bert,
        with_mask(torch.tensor([[1] * 6, [0] * 6])),
        InputError,
        ["row(s) [1] of the batch are padding only", "expected a token in each", "Leave them out"],
    ),
    "mask of another width": (
        sharp_gpt2,
        with_mask(torch.ones(2, 7)),
        InputError,
        ["attention_mask is [2, 7]", "expected [2, 6]", "0 for padding"],
    ),
    "mask of four dimensions": (
        sharp_bert,
        with_mask(torch.ones(2, 1, 6, 6)),
        ModelError,
        ["attention_mask has 4 dimensions", "expected 2 (rows, tokens)", "0 for padding"],
    ),
    "packed sequences": (
        sharp_gpt2,
        packed,
        ModelError,
        ["neither causal nor bidirectional", "pass a 2-D attention_mask, or one text a row"],
    ),
    "cache of another attention": (
        sharp_gpt2,
        with_cache(filled_by_eager),
        ModelError,
        ["past_key_values holds 7 tokens of another attention", "start the generation again with an empty"],
    ),
    "cache that cannot grow": (
        sharp_gpt2,
        with_cache(lambda model: StaticCache(config=model.config, max_cache_len=16)),
        ModelError,
        ["past_key_values is a StaticCache", "expected a DynamicCache", "generate() makes one"],
    ),
    "cache that is offloaded": (
        sharp_gpt2,
        lambda model: model.generate(tokens(1, 3), max_new_tokens=2, cache_implementation="offloaded"),
        ModelError,
        ["is an offloaded DynamicCache", "expected a DynamicCache that is not offloaded, or none"],
    ),
    "assisted generation": (
        sharp_gpt2,
        lambda model: model.generate(tokens(1, 9), max_new_tokens=4, prompt_lookup_num_tokens=2),
        ModelError,
        ["crop (assisted generation) is not supported", "generate without it"],
    ),
    "cache that is cut": (
        sharp_gpt2,
        lambda model: ours(model).crop(1),
        ModelError,
        ["crop (assisted generation) is not supported", "start a new generation"],
    ),
    "cache that is reset": (
        sharp_gpt2,
        lambda model: ours(model).reset(),
        ModelError,
        ["reset is not supported", "start a new generation"],
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_call_says_what_was_given_expected_and_to_do(name: str, device: Device) -> None:
    make, call, kind, said = BAD_CALLS[name]
    model = make()
    with spatten.attach(model, device=device) as session:
        with pytest.raises(kind) as caught:
            call(model)
        assert all(part in str(caught.value) for part in said), str(caught.value)
        if "NaN" in str(caught.value):
            return
        session.reset_record()
        model(tokens(1, 5))  # the next call is clean
        assert len(session.record.layers) == 4


def test_input_longer_than_the_device_holds_is_refused() -> None:
    with open_device("emulator?preset=ecp5-25f") as device:
        for model in (sharp_bert(max_position_embeddings=600), sharp_gpt2(n_positions=600)):
            with spatten.attach(model, device=device):
                model(tokens(1, 512))
                with pytest.raises(OperandError) as caught:
                    model(tokens(1, 513))
                said = str(caught.value)
                assert "sequence of 513 tokens; emulator" in said
                assert "holds 1 to 512. Truncate the input" in said


@pytest.mark.parametrize("columns", [1, 2])
def test_cache_on_a_device_is_refused_by_a_detached_model(columns: int, device: Device) -> None:
    model = sharp_gpt2()
    with spatten.attach(model, device=device):
        cache = ours(model)
    with pytest.raises(ModelError) as caught:
        model(tokens(1, columns), past_key_values=cache)
    said = "keeps its 3 tokens in device memory, and the model that is called with it is not attached"
    assert said in str(caught.value)
    assert "attach it, or start again with an empty cache" in str(caught.value)


def test_cache_on_one_device_is_refused_on_another(device: Device, device_uri: str) -> None:
    model = sharp_gpt2()
    with spatten.attach(model, device=device):
        cache = ours(model)
    refused = pytest.raises(ModelError, match="past_key_values")
    with open_device(device_uri) as other, spatten.attach(model, device=other), refused:
        model(tokens(1, 1), past_key_values=cache)


def test_module_of_torch_alone_is_no_model(device: Device) -> None:
    with pytest.raises(ModelError, match=r"Linear .* expected a model of \['bert', 'gpt2'\]"):
        spatten.attach(torch.nn.Linear(2, 2), device=device)


def test_ids_of_one_dimension_are_refused(device: Device) -> None:
    with spatten.attach(model := sharp_bert(), device=device), pytest.raises(InputError, match=r"\[5\]"):
        model(torch.arange(5))


@pytest.mark.parametrize("make", [sharp_bert, sharp_gpt2])
def test_ids_that_are_no_integers_are_refused(make: Callable[[], PreTrainedModel], device: Device) -> None:
    with spatten.attach(model := make(), device=device), pytest.raises(InputError) as caught:
        model(tokens(2, 6).float())
    assert "torch.float32 [2, 6]; expected integers [rows, tokens]" in str(caught.value)


def test_ffn_in_chunks_is_refused(device: Device) -> None:
    with pytest.raises(ModelError, match=r"^BertModel with chunk_size_feed_forward is not supported; "):
        spatten.attach(sharp_bert(chunk_size_feed_forward=2), device=device)


def test_call_that_fails_holds_no_device_memory(device_uri: str) -> None:
    model = nan(sharp_bert(), float("nan"))
    with open_device(device_uri) as device, spatten.attach(model, device=device):
        with pytest.raises(OperandError):
            model(tokens(2, 6))
        gc.collect()
        assert device.allocator.bytes_taken == 0


def test_layer_called_by_itself_says_what_to_call() -> None:
    model = sharp_bert(attn_implementation="spatten")
    with pytest.raises(ModelError) as caught:
        model.encoder.layer[0](torch.zeros(1, 3, 128))
    assert "BertSelfAttention was called by itself or by a model that is not attached" in str(caught.value)
    assert "call the model that holds it (BERT or GPT-2), or attach it" in str(caught.value)


def test_session_says_which_device_it_runs_on(device: Device) -> None:
    with spatten.attach(sharp_bert(), device=device) as session:
        assert isinstance(session, Session)
        assert session.record.device == str(device)
        assert session.record.config_digest == f"{device.config.digest:016x}"
