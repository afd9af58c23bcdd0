import json

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.checkpoints import model_directory
from tests.models import TINY, random_ids, random_model, text_model, weights_of


@pytest.fixture
def saved(tmp_path):
    """A model and the directory it was saved to."""
    model = text_model()
    model.save_to_preset(tmp_path / "model")
    return model, tmp_path / "model"


def change_config(directory, **changes):
    path = directory / "config.json"
    contents = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in contents.items() if value != "gone"}))


def change_weights(directory, change):
    path = directory / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_save_and_load_is_the_identity(tmp_path, position_embedding):
    model = text_model(position_embedding=position_embedding)
    model.save_to_preset(tmp_path / "model")
    loaded = GPT2LM.from_preset(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.tokenizer == model.tokenizer
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(weights_of(loaded)[name], value)


def test_the_directory_has_hugging_faces_names_and_shapes(saved):
    model, directory = saved
    assert sorted(path.name for path in directory.iterdir()) == [
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
    config = json.loads((directory / "config.json").read_text())
    expected = {"model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 32}
    expected |= {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "n_inner": 64}
    assert {key: config[key] for key in expected} == expected
    shapes = {
        name: value.shape for name, value in load_file(directory / "model.safetensors").items()
    }
    vocab = model.config.vocab_size
    layer = {
        "ln_1.weight": (16,),
        "ln_1.bias": (16,),
        "attn.c_attn.weight": (16, 48),
        "attn.c_attn.bias": (48,),
        "attn.c_proj.weight": (16, 16),
        "attn.c_proj.bias": (16,),
        "ln_2.weight": (16,),
        "ln_2.bias": (16,),
        "mlp.c_fc.weight": (16, 64),
        "mlp.c_fc.bias": (64,),
        "mlp.c_proj.weight": (64, 16),
        "mlp.c_proj.bias": (16,),
    }
    assert shapes == {
        "transformer.wte.weight": (vocab, 16),
        "transformer.wpe.weight": (32, 16),
        **{f"transformer.h.{i}.{name}": shape for i in range(2) for name, shape in layer.items()},
        "transformer.ln_f.weight": (16,),
        "transformer.ln_f.bias": (16,),
    }


def test_names_without_the_prefix_and_with_old_buffers_load(saved):
    model, directory = saved

    def strip(weights):
        for name in list(weights):
            weights[name.removeprefix("transformer.")] = weights.pop(name)
        weights["h.0.attn.bias"] = np.ones((1, 1, 32, 32), "float32")
        weights["h.1.attn.masked_bias"] = np.array(-1e4, "float32")
        weights["lm_head.weight"] = weights["wte.weight"].copy()

    change_weights(directory, strip)
    ids = random_ids((1, 5), model.config)
    np.testing.assert_array_equal(GPT2LM.from_preset(directory)(ids), model(ids))


def test_a_run_directory_loads_as_the_model_in_it(tmp_path):
    model = random_model()
    model.save_to_preset(tmp_path / "run" / "model")
    assert GPT2LM.from_preset(tmp_path / "run").config == TINY


def test_fields_can_be_changed_on_loading(saved):
    assert GPT2LM.from_preset(saved[1], dropout_rate=0.3).config.dropout_rate == 0.3
    assert GPT2LM.from_preset(saved[1], dtype="mixed_bfloat16").compute_dtype == "bfloat16"


def test_a_directory_of_other_files_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            random_model().save_to_preset(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_directory_is_replaced_only_when_asked(tmp_path):
    random_model(seed=1).save_to_preset(tmp_path / "model")
    with pytest.raises(FileExistsError, match="or move this one away first"):
        random_model(seed=2).save_to_preset(tmp_path / "model")
    random_model(seed=2).save_to_preset(tmp_path / "model", overwrite=True)
    loaded, expected = GPT2LM.from_preset(tmp_path / "model"), random_model(seed=2)
    np.testing.assert_array_equal(loaded(random_ids((1, 3))), expected(random_ids((1, 3))))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing_under_the_final_name(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_directory, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        random_model().save_to_preset(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_safetensors_names_the_file(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise SafetensorError("I/O error")

    monkeypatch.setattr(model_directory, "save_file", full)
    with pytest.raises(
        OSError, match=r"^Writing .*model.safetensors failed: I/O error\. Make room"
    ):
        random_model().save_to_preset(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_argument_of_the_wrong_type_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match=r"^directory=3 is an int\. Use a path\.$"):
        random_model().save_to_preset(3)
    with pytest.raises(TypeError, match=r"^overwrite=1 is an int\. Use True or False\.$"):
        random_model().save_to_preset(tmp_path / "model", overwrite=1)
    assert list(tmp_path.iterdir()) == []


def test_the_error_for_a_missing_model_lists_the_files_looked_for(tmp_path):
    message = r"/nowhere, which does not exist\..* \(config.json and one of model.safetensors, "
    with pytest.raises(FileNotFoundError, match=message):
        GPT2LM.from_preset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="which holds nothing"):
        GPT2LM.from_preset(tmp_path)


def test_a_truncated_weights_file_is_an_error(saved):
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(
        ValueError, match=rf"^{path} \(\d+ bytes\) is not a complete safetensors file: "
    ):
        GPT2LM.from_preset(saved[1])


def test_tensors_that_do_not_fit_are_all_listed(saved):
    def spoil(weights):
        weights["h.9.extra"] = weights.pop("transformer.ln_f.bias")
        weights["transformer.wpe.weight"] = np.zeros((7, 16), "float32")

    change_weights(saved[1], spoil)
    with pytest.raises(
        ValueError, match=r"^3 of the tensors in .* do not fit config.json"
    ) as error:
        GPT2LM.from_preset(saved[1])
    assert "missing transformer.ln_f.bias" in str(error.value)
    assert "unexpected h.9.extra" in str(error.value)
    assert "transformer.wpe.weight of shape (7, 16), expected (32, 16)" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, r'has "model_type": \'llama\', and a GPT-2 has \'gpt2\''),
        ({"activation_function": "relu"}, r"has activation_function='relu', and .* has 'gelu_new'"),
        ({"layer_norm_epsilon": 1e-6}, r"has layer_norm_epsilon=1e-06, and GPT-2 has 1e-05\."),
        ({"n_head": "gone"}, r"config.json lacks n_head\. It needs the keys vocab_size, "),
        ({"attn_pdrop": 0.5}, r"dropout rates \[0.0, 0.5\] in .* with dropout_rate=0.5\."),
        ({"n_head": 3}, r"num_heads=3 does not divide hidden_dim=16"),
    ],
)
def test_a_config_that_is_not_gpt2s_is_an_error(saved, changes, message):
    change_config(saved[1], **changes)
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(saved[1])


def test_unequal_dropout_rates_load_when_one_is_chosen(saved):
    change_config(saved[1], attn_pdrop=0.5)
    assert GPT2LM.from_preset(saved[1], dropout_rate=0.2).config.dropout_rate == 0.2


@pytest.mark.parametrize(("text", "message"), [("{", "JSON file: Exp"), ("[]", "it holds a list")])
def test_a_config_that_is_no_json_object_is_an_error(saved, text, message):
    (saved[1] / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(saved[1])


def test_a_vocabulary_that_does_not_match_the_weights_is_an_error(saved):
    change_config(saved[1], vocab_size=999)
    with pytest.raises(
        ValueError, match=r"wte.weight of .* \(280, 16\), and its config has vocab_size=999\."
    ):
        GPT2LM.from_preset(saved[1])


def test_the_default_config_is_that_of_the_published_gpt2(saved):
    change_config(saved[1], resid_pdrop="gone", embd_pdrop="gone", attn_pdrop="gone")
    assert GPT2LM.from_preset(saved[1]).config.dropout_rate == GPT2Config().dropout_rate
