"""Calibration of exports for devices: what is measured, what is written, what is an error."""

import re
import types

import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.export import litert_quantization, litert_rounding
from gpt2_keras.export.calibration import MAX_TOKENS, PRODUCTS, Calibration
from gpt2_keras.understanding import record
from gpt2_keras.verification.litert_metadata import LiteRTContents
from tests.models import CORPUS, text_model

pytest.importorskip("litert_quantizer", reason="needs it: pip install 'gpt2-keras[litert]'")

TEXT = " ".join(CORPUS)


def wide_model():
    """A model whose widths int4 can divide into blocks."""
    return text_model(hidden_dim=64, intermediate_dim=128, num_heads=2)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, and its file with one signature for the logits, which is quickly made."""
    model = wide_model()
    tokenizer, model.tokenizer = model.tokenizer, None
    path = tmp_path_factory.mktemp("litert") / "m.tflite"
    model.export(path, format="litert", certificate=False)
    model.tokenizer = tokenizer
    return model, path.read_bytes()


def logits_of(contents, ids, folder):
    from ai_edge_litert.interpreter import Interpreter

    (folder / "m.tflite").write_bytes(contents)
    runner = Interpreter(str(folder / "m.tflite")).get_signature_runner("logits")
    return runner(token_ids=ids)["logits"].copy()


def test_hessians_are_those_of_the_inputs_of_each_product():
    model = text_model()
    calibration = Calibration.of(model, TEXT)
    names = [f"blocks.{index}.{name}" for index in range(2) for name in PRODUCTS.values()]
    inputs = record(model, calibration.token_ids, names)
    found = list(calibration.hessians())
    assert len(found) == 8
    for (layer, hessian), name in zip(found, names, strict=True):
        x = inputs[name].reshape(-1, layer.merged_kernel().shape[1]).astype("float64")
        # A sum of some 500 products in float32, in batches.
        np.testing.assert_allclose(hessian, x.T @ x, rtol=0, atol=1e-5 * (x**2).sum(axis=0).max())


def test_layers_that_do_not_fit_into_memory_together_are_measured_in_turns(monkeypatch):
    calibration = Calibration.of(text_model(), TEXT)
    together = [hessian for _, hessian in calibration.hessians()]
    monkeypatch.setattr("gpt2_keras.export.calibration._HESSIAN_BYTES", 1)
    for one, other in zip(together, calibration.hessians(), strict=True):
        np.testing.assert_array_equal(one, other[1])


def test_at_most_so_many_tokens_are_read():
    assert Calibration.of(text_model(), TEXT * 40).token_ids.size == MAX_TOKENS


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_rounding_to_the_nearest_is_what_the_quantizer_wrote(exported, dtype):
    model, contents = exported
    quantized = bytearray(litert_quantization.quantize(contents, dtype))
    before = bytes(quantized)
    kernels = litert_rounding._integer_kernels(quantized, contents)
    count = 0
    for layer, _ in Calibration.of(model, TEXT).hessians():
        kernel = layer.merged_kernel()
        found = kernels[kernel.tobytes()]
        grid = np.repeat(found.scales, kernel.shape[1] // found.scales.shape[1], axis=1)
        nearest = np.clip(np.rint(kernel / grid), -found.largest, found.largest)
        found.write(nearest.astype(np.int8))
        count += 1
    assert count == 8
    # Halves may go to the other side.
    assert np.mean(np.frombuffer(before, np.uint8) != np.frombuffer(quantized, np.uint8)) < 1e-3


def test_calibrated_int4_is_closer_to_the_model_on_text(exported, tmp_path):
    model, contents = exported
    calibration = Calibration.of(model, TEXT)
    ids = calibration.token_ids[:1]
    expected = logits_of(contents, ids, tmp_path)
    errors = [
        np.square(
            logits_of(litert_quantization.quantize(contents, dtype, given), ids, tmp_path)
            - expected
        ).mean()
        for dtype, given in (("int4", None), ("int4", calibration), ("mixed", calibration))
    ]
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < errors[0]


def test_mixed_widths_are_chosen_by_what_int4_costs(exported):
    model, contents = exported
    calibration = Calibration.of(model, TEXT)
    costs = calibration.losses_of(litert_quantization._in_int4)
    assert len(costs) == 8
    wide = litert_quantization._widest(calibration)
    layers = {
        layer.path: layer.merged_kernel()
        for index in range(2)
        for layer in (calibration.layer(index, product) for product in PRODUCTS)
    }
    chosen = {path for path, kernel in layers.items() if kernel.tobytes() in wide}
    sizes = {path: kernel.size for path, kernel in layers.items()}
    assert 0 < sum(sizes[path] for path in chosen) <= 0.25 * sum(sizes.values())
    worth = {path: costs[path] / sizes[path] for path in layers}
    assert max(worth, key=worth.__getitem__) in chosen or max(sizes.values()) > 0.25 * sum(
        sizes.values()
    )
    quantized = litert_quantization.quantize(contents, "mixed", calibration)
    assert LiteRTContents(np.frombuffer(quantized, np.uint8)).dtype() == "mixed"
    four = litert_quantization.quantize(contents, "int4")
    eight = litert_quantization.quantize(contents, "int8")
    assert len(four) < len(quantized) < len(eight)


def test_the_loss_of_a_product_in_other_bits_leaves_the_model_as_it_is():
    model = text_model()
    calibration = Calibration.of(model, TEXT)
    before, loss = model.get_weights(), calibration.loss()
    assert set(calibration.losses_of(lambda kernel: kernel).values()) == {0.0}
    assert max(calibration.losses_of(np.zeros_like).values()) > 1e-3
    assert calibration.loss() == loss
    for value, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


ERRORS = {
    "empty": ({"calibrate": "", "dtype": "int4"}, "text 0 has no token"),
    "short": (
        {"calibrate": "the cat", "dtype": "int4"},
        "The calibration text has 3 tokens, fewer than 512",
    ),
    "another script": (
        {"calibrate": "猫坐在垫子上" * 100, "dtype": "int4"},
        "tokens in its first 600 characters: the vocabulary does not know its script",
    ),
    "no integers": (
        {"calibrate": TEXT, "dtype": "float16"},
        "calibrate is given, but dtype='float16' is not rounded to integers",
    ),
    "no text": ({"dtype": "mixed"}, "dtype='mixed' is chosen by the loss on text"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_options_that_do_not_fit(case, tmp_path):
    options, message = ERRORS[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        wide_model().export(tmp_path / "m.tflite", format="litert", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_model_that_fits_into_no_flatbuffer_is_found_before_the_work(dtype, tmp_path):
    large = types.SimpleNamespace(config=GPT2Config.gpt2_large())
    message = r"The model takes 3\.1 GB in float32, and a \.tflite, .* has at most 2\.1 GB\. Prune"
    with pytest.raises(ValueError, match=message):
        litert_quantization.checked_options(large, tmp_path / "m.tflite", None, dtype)
    medium = types.SimpleNamespace(config=GPT2Config.gpt2_medium())
    litert_quantization.checked_options(medium, tmp_path / "m.tflite", None, dtype)


def test_a_calibration_text_that_is_not_there_or_of_a_wrong_type(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.txt"):
        Calibration.of(text_model(), tmp_path / "no.txt")
    with pytest.raises(TypeError, match=r"texts\[0\]=3 is an int"):
        Calibration.of(text_model(), [3])
