import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from gpt2_keras import GPT2LM
from tests.checkpoints.writers import BFLOAT16, write_index, write_tf_h5, write_torch
from tests.models import text_model, weights_of


@pytest.fixture(scope="module")
def model():
    return text_model()


@pytest.fixture
def directory(model, tmp_path):
    """The model's directory, without its weights."""
    model.save_to_preset(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    return tmp_path / "model"


def assert_same_weights(loaded, expected):
    found = weights_of(loaded)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def renamed(weights, prefix):
    return {prefix + name.removeprefix("transformer."): value for name, value in weights.items()}


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("dtype", ["float32", "float16", BFLOAT16])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "legacy"])
def test_each_file_dtype_and_prefix_loads(model, directory, file, dtype, prefix):
    weights = {name: array.astype(dtype) for name, array in weights_of(model).items()}
    if file == "model.safetensors":
        save_file(renamed(weights, prefix), directory / file)
    else:
        path = directory / "pytorch_model.bin"
        write_torch(path, renamed(weights, prefix), legacy=file == "legacy")
    loaded = GPT2LM.from_preset(directory)
    assert_same_weights(loaded, {name: value.astype("float32") for name, value in weights.items()})
    assert loaded.tokenizer == model.tokenizer


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_load(model, directory, suffix):
    weights = weights_of(model)
    names = sorted(weights)
    stem, write = {
        "safetensors": ("model", lambda path, tensors: save_file(tensors, path)),
        "bin": ("pytorch_model", write_torch),
    }[suffix]
    shards = {f"{stem}-0000{i + 1}-of-00002.{suffix}": names[i::2] for i in range(2)}
    for file, part in shards.items():
        write(directory / file, {name: weights[name] for name in part})
    write_index(directory, f"{stem}.{suffix}.index.json", shards)
    assert_same_weights(GPT2LM.from_preset(directory), weights)
    (directory / next(iter(shards))).unlink()
    message = (
        rf"^{directory} has no {stem}-00001-of-00002.{suffix}, which {stem}.{suffix}.index.json "
        r"lists\. Copy or download the missing files too\.$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        GPT2LM.from_preset(directory)


def test_an_index_without_a_map_is_an_error(directory):
    (directory / "model.safetensors.index.json").write_text('{"metadata": {}}')
    with pytest.raises(ValueError, match=r'index.json has "weight_map": null, and an index maps'):
        GPT2LM.from_preset(directory)


def test_the_h5_file_of_transformers_4_loads(model, directory):
    write_tf_h5(directory / "tf_model.h5", model)
    assert_same_weights(GPT2LM.from_preset(directory), weights_of(model))


def test_an_unexpected_tensor_in_an_h5_file_and_a_damaged_one_are_errors(model, directory):
    import h5py

    path = directory / "tf_model.h5"
    write_tf_h5(path, model)
    with h5py.File(path, "a") as file:
        file["transformer/other/thing:0"] = np.zeros(3)
    with pytest.raises(
        ValueError,
        match=rf"^1 of the tensors in {path} do not fit config.json: unexpected transformer/other",
    ):
        GPT2LM.from_preset(directory)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match=rf"^{path} \(3000 bytes\) is not a complete HDF5 file: "):
        GPT2LM.from_preset(directory)


def test_an_output_projection_may_be_stored_if_it_is_the_embeddings(model, directory):
    weights = weights_of(model)
    weights["lm_head.weight"] = weights["transformer.wte.weight"].copy()
    path = directory / "model.safetensors"
    save_file(weights, path)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    assert_same_weights(GPT2LM.from_preset(directory), weights_of(model))
    weights = load_file(path)
    weights["lm_head.weight"][3, 3] += 1
    save_file(weights, path)
    message = (
        r"^lm_head.weight \(280, 16\) and transformer.wte.weight \(280, 16\) of .* differ, and the "
        r"output projection of GPT-2 is its token embeddings\. A model with another"
    )
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(directory)


def test_a_torch_file_of_something_else_is_an_error(directory):
    write_torch(directory / "pytorch_model.bin", [1, 2])
    with pytest.raises(ValueError, match=r"pytorch_model.bin holds a list, and a .* dictionary"):
        GPT2LM.from_preset(directory)


def test_missing_tensors_are_listed_by_the_names_of_the_file(model, directory):
    weights = renamed(weights_of(model), "")
    del weights["h.1.mlp.c_fc.bias"]
    write_torch(directory / "pytorch_model.bin", weights)
    with pytest.raises(ValueError, match=r"fit config.json: missing h\.1\.mlp\.c_fc\.bias\. Use"):
        GPT2LM.from_preset(directory)
