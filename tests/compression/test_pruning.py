"""Pruning: what is kept, what stands for the rest, and that exports and other systems keep it."""

import re

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.compression import measure_importance, prune
from gpt2_keras.finetuning import enable_lora
from gpt2_keras.generation_config import GenerationConfig
from gpt2_keras.understanding import record
from tests.models import CORPUS, random_ids, random_model, text_model, weights_of

TEXT = " ".join(CORPUS[:8])
CONFIG = GPT2Config(
    vocab_size=50, context_length=8, num_layers=3, num_heads=2, hidden_dim=8, dropout_rate=0.0
)


def windows(model):
    """The ids that importance is measured on, in whole windows."""
    tokenizer, context = model.tokenizer, model.config.context_length
    ids = np.array([*tokenizer.encode(TEXT), tokenizer.end_token_id], np.int32)
    return ids[: len(ids) // context * context].reshape(-1, context), ids


def test_importance_is_what_the_activations_say():
    model = text_model()
    rows, ids = windows(model)
    found = measure_importance(model, TEXT, max_tokens=rows.size)
    assert found.num_tokens == rows.size < len(ids)
    names = ["blocks.1.hook_resid_pre", "blocks.1.hook_resid_post", "blocks.1.mlp.hook_post"]
    before, after, post = (each.astype("float64") for each in record(model, rows, names).values())
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    cosine = ((before * after).sum(axis=-1) / norms).mean()
    assert found.layers[1] == pytest.approx(1 - cosine, abs=1e-5)
    post = post.reshape(-1, post.shape[-1])
    np.testing.assert_allclose(found.neuron_means[1], post.mean(axis=0), rtol=0, atol=1e-4)
    weights = weights_of(model)["transformer.h.1.mlp.c_proj.weight"]  # (neurons, width)
    expected = post.var(axis=0) * (weights.astype("float64") ** 2).sum(axis=1)
    np.testing.assert_allclose(found.neurons[1], expected, rtol=1e-3, atol=1e-4)


def test_a_last_window_that_is_shorter_is_measured_too():
    seen = []
    model = text_model()
    _, ids = windows(model)
    found = measure_importance(model, TEXT, on_progress=lambda *progress: seen.append(progress))
    assert found.num_tokens == len(ids)
    assert seen[-1] == (len(ids), len(ids))


def test_layers_that_change_nothing_go_first():
    model = text_model(num_layers=4)
    for layer in (1, 2):
        for name in ("attention.output_projection", "feed_forward.project"):
            part, product = name.split(".")
            projection = getattr(getattr(model.decoder.blocks[layer], part), product)
            for variable in projection.weights:
                variable.assign(np.zeros(variable.shape))
    smaller = prune(model, layers=2, texts=TEXT)
    ids = random_ids((2, 9), model.config)
    np.testing.assert_allclose(np.array(smaller(ids)), np.array(model(ids)), rtol=0, atol=1e-5)


def test_neurons_of_constant_activation_are_replaced_by_a_bias():
    model = text_model()
    constant = [3, 5, 40]
    for block in model.decoder.blocks:
        kernel, bias = (np.array(each) for each in block.feed_forward.expand.get_weights())
        kernel[constant], bias[constant] = 0, 1.5
        block.feed_forward.expand.set_weights([kernel, bias])
    smaller = prune(model, intermediate_dim=model.config.feed_forward_dim - 3, texts=TEXT)
    ids = random_ids((2, 9), model.config)
    np.testing.assert_allclose(np.array(smaller(ids)), np.array(model(ids)), rtol=0, atol=1e-4)
    without = prune(model, intermediate_dim=model.config.feed_forward_dim - 3)
    assert np.abs(np.array(without(ids)) - np.array(model(ids))).max() > 1e-2


def test_without_texts_the_largest_weights_stay():
    model = random_model(CONFIG)
    kernel, bias = model.decoder.blocks[2].feed_forward.expand.get_weights()
    kernel[[1, 7]] *= 1e-6
    model.decoder.blocks[2].feed_forward.expand.set_weights([kernel, bias])
    smaller = prune(model, intermediate_dim=30)
    kept = smaller.decoder.blocks[2].feed_forward.expand.get_weights()[0]
    np.testing.assert_array_equal(kept, np.delete(kernel, [1, 7], axis=0))


def test_all_kinds_at_once_and_through_files(tmp_path):
    model = text_model(num_layers=3)
    smaller = prune(model, layers=[0, 2], intermediate_dim=20, vocabulary="the cat", texts=TEXT)
    assert smaller.config.num_layers == 2
    assert smaller.config.intermediate_dim == 20
    assert smaller.config.vocab_size == smaller.tokenizer.vocab_size < model.config.vocab_size
    smaller.save_to_preset(tmp_path / "model")
    loaded = GPT2LM.from_preset(tmp_path / "model")
    assert loaded.config == smaller.config
    assert loaded.generate("the cat", max_new_tokens=4) == smaller.generate(
        "the cat", max_new_tokens=4
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tf_saved_model", "litert", "litertlm"])
def test_every_export_of_a_pruned_model_is_certified(form, tmp_path):
    pytest.importorskip("litert_lm" if form == "litertlm" else "tensorflow")
    if form == "litert":
        pytest.importorskip("ai_edge_litert")
    model = text_model(num_layers=3, context_length=64)
    smaller = prune(model, layers=2, intermediate_dim=20, vocabulary=TEXT[:40], texts=TEXT)
    name = {"tf_saved_model": "m", "litert": "m.tflite", "litertlm": "m.litertlm"}[form]
    smaller.export(tmp_path / name, format=form)  # raises an error unless it is certified
    assert list(tmp_path.rglob("*certificate.json"))


def test_a_trimmed_vocabulary_keeps_the_logits_and_the_tokens_of_its_texts():
    model = text_model()
    text = "the dog sat on the mat"
    smaller = prune(model, vocabulary=text)
    ids, new = model.tokenizer.encode(text), smaller.tokenizer.encode(text)
    assert len(new) == len(ids)
    assert smaller.tokenizer.decode(new) == text
    kept = [model.tokenizer.token_bytes.index(token) for token in smaller.tokenizer.token_bytes]
    assert kept == sorted(kept)
    assert [kept[each] for each in new] == ids
    logits = np.array(model(np.array([ids])))[..., kept]
    # Columns of the same products.
    np.testing.assert_allclose(np.array(smaller(np.array([new]))), logits, rtol=0, atol=1e-5)
    other = "o'clock? 🐢"
    assert smaller.tokenizer.decode(smaller.tokenizer.encode(other)) == other


def test_the_generation_config_follows_the_new_ids():
    model = text_model()
    end, cat, dog = (
        model.tokenizer.end_token_id,
        *(model.tokenizer.encode(word)[0] for word in (" cat", " dog")),
    )
    config = {"eos_token_id": [end], "suppress_tokens": [cat, dog], "bad_words_ids": [[cat], [dog]]}
    model.generation_config = GenerationConfig(config, {"bos_token_id": end, "pad_token_id": dog})
    smaller = prune(model, vocabulary="the cat")
    (new,) = smaller.tokenizer.encode(" cat")
    found = smaller.generation_config
    assert found.end_token_ids == (smaller.tokenizer.end_token_id,)
    assert found.contents["suppress_tokens"] == [new]
    assert found.contents["bad_words_ids"] == [[new]]
    assert found.token_ids == {"bos_token_id": smaller.tokenizer.end_token_id, "pad_token_id": None}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "There is nothing to prune. Use layers, intermediate_dim or vocabulary."),
        ({"layers": 4}, ValueError, "layers=4 is greater than 3"),
        ({"layers": [0, 9], "texts": TEXT}, ValueError, "layers[1]=9 is greater than 2"),
        ({"intermediate_dim": 33}, ValueError, "intermediate_dim=33 is greater than 32"),
        ({"intermediate_dim": 0}, ValueError, "intermediate_dim=0 is less than 1"),
        ({"layers": 2, "texts": TEXT}, ValueError, "tokenizer"),
        ({"vocabulary": "a"}, ValueError, "tokenizer"),
    ],
)
def test_what_cannot_be_pruned(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        prune(random_model(CONFIG), **options)


@pytest.mark.parametrize("options", [{"vocabulary": ""}, {"layers": 1, "texts": [""]}])
def test_texts_without_a_token(options, tmp_path):
    with pytest.raises(ValueError, match=r"text 0 has no token\. Use a longer text"):
        prune(text_model(), **options)
    missing = {name: tmp_path / "no.txt" for name in options if name != "layers"}
    with pytest.raises(FileNotFoundError, match=r"no\.txt"):
        prune(text_model(), **{**options, **missing})


def test_lora_is_merged_first():
    model = text_model()
    enable_lora(model, rank=2)
    with pytest.raises(ValueError, match="model has LoRA"):
        prune(model, vocabulary=TEXT)


def test_a_wrong_number_of_tokens():
    with pytest.raises(ValueError, match="max_tokens=0 is less than 1"):
        measure_importance(text_model(), TEXT, max_tokens=0)
