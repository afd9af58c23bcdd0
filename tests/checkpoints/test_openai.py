import json
import re

import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.checkpoints import save_openai
from tests import reference
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.models import TINY, random_ids, random_model, text_model, weights_of
from tests.test_model import assert_close


@pytest.fixture
def saved(tmp_path):
    model = text_model()
    save_openai(model, tmp_path / "117M")
    return model, tmp_path / "117M"


def test_round_trip_is_bit_exact(saved):
    model, directory = saved
    loaded = GPT2LM.from_preset(directory, dropout_rate=0.0)
    assert loaded.config == model.config
    assert loaded.tokenizer == model.tokenizer
    assert_same_weights(loaded, weights_of(model))


def test_files_names_and_shapes_are_openais(saved):
    _, directory = saved
    assert sorted(path.name for path in directory.iterdir()) == [
        "checkpoint",
        "encoder.json",
        "hparams.json",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "vocab.bpe",
    ]
    hparams = {"n_vocab": 280, "n_ctx": 32, "n_embd": 16, "n_head": 2, "n_layer": 2}
    assert json.loads((directory / "hparams.json").read_text()) == hparams
    assert tf.train.latest_checkpoint(str(directory)) == str(directory / "model.ckpt")
    shapes = dict(tf.train.list_variables(str(directory)))
    layer = {
        "ln_1/g": [16],
        "ln_1/b": [16],
        "attn/c_attn/w": [1, 16, 48],
        "attn/c_attn/b": [48],
        "attn/c_proj/w": [1, 16, 16],
        "attn/c_proj/b": [16],
        "ln_2/g": [16],
        "ln_2/b": [16],
        "mlp/c_fc/w": [1, 16, 64],
        "mlp/c_fc/b": [64],
        "mlp/c_proj/w": [1, 64, 16],
        "mlp/c_proj/b": [16],
    }
    assert shapes == {
        "model/wte": [280, 16],
        "model/wpe": [32, 16],
        **{f"model/h{i}/{name}": shape for i in range(2) for name, shape in layer.items()},
        "model/ln_f/g": [16],
        "model/ln_f/b": [16],
    }


def test_logits_are_those_of_openais_formulas(saved):
    model, directory = saved
    reader = tf.train.load_checkpoint(str(directory))
    weights = {}
    for name in reader.get_variable_to_shape_map():
        words = re.sub(r"^model/h(\d+)/", r"model/h/\1/", name).split("/")[1:]
        leaf = "" if words[-1] in ("wte", "wpe") else {"b": "bias"}.get(words.pop(), "weight")
        array = reader.get_tensor(name)
        key = ".".join(["transformer", *words, leaf or "weight"])
        weights[key] = array[0] if array.ndim == 3 else array
    ids = random_ids((2, 12), model.config)
    expected = reference.logits(weights, ids, num_heads=2)
    assert_close(GPT2LM.from_preset(directory)(ids), expected)


def write_run(directory, model, *, step, extra=()):
    """Writes a run as gpt-2-simple's saver of TensorFlow 1 does."""
    save_openai(model, directory / "openai")
    (directory / "run1").mkdir(exist_ok=True)
    reader = tf.train.load_checkpoint(str(directory / "openai"))
    names = sorted(reader.get_variable_to_shape_map())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [
            tf.compat.v1.Variable(reader.get_tensor(name), name=name, use_resource=False)
            for name in names
        ]
        variables += [tf.compat.v1.Variable([1.0], name=name) for name in extra]
        session.run(tf.compat.v1.global_variables_initializer())
        saver = tf.compat.v1.train.Saver(variables, max_to_keep=1)
        saver.save(session, str(directory / "run1" / "model"), global_step=step)
    (directory / "run1" / "counter").write_text(f"{step}\n")
    for name in ("hparams.json", "encoder.json", "vocab.bpe"):
        (directory / "run1" / name).write_bytes((directory / "openai" / name).read_bytes())
    return directory / "run1"


def test_a_run_of_gpt_2_simple_loads_from_another_directory(tmp_path):
    model = text_model()
    extra = ["model/wte/Adam", "model/wte/Adam_1", "beta1_power", "global_step"]
    run = write_run(tmp_path, model, step=1000, extra=extra)
    assert (run / "model-1000.meta").is_file()
    state = run / "checkpoint"
    assert f'path: "{run}/model-1000"' in state.read_text()
    run = run.rename(tmp_path / "moved")
    state = run / "checkpoint"
    loaded = GPT2LM.from_preset(run)
    assert_same_weights(loaded, weights_of(model))
    assert loaded.tokenizer == model.tokenizer
    state.unlink()
    assert_same_weights(GPT2LM.from_preset(run), weights_of(model))


def test_the_checkpoint_that_the_saver_names_is_read(tmp_path):
    (tmp_path / "b").mkdir()
    old = write_run(tmp_path, text_model(seed=1), step=1)
    new = write_run(tmp_path / "b", text_model(seed=2), step=2)
    for path in new.iterdir():
        path.rename(old / path.name)
    (old / "model-1.index").touch()  # the newer file
    assert_same_weights(GPT2LM.from_preset(old), weights_of(text_model(seed=2)))


def test_special_tokens_survive_the_round_trip(tmp_path):
    tokenizer = text_model().tokenizer.with_special_tokens(["<|user|>"])
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": tokenizer.vocab_size})
    save_openai(random_model(config, tokenizer), tmp_path / "model")
    assert GPT2LM.from_preset(tmp_path / "model").tokenizer == tokenizer


def test_another_width_of_the_feed_forward_network_cannot_be_saved(tmp_path):
    model = random_model(GPT2Config(**{**TINY.to_dict(), "intermediate_dim": 24}))
    with pytest.raises(ValueError, match=r"^intermediate_dim=24 is not 4 times hidden_dim=16, "):
        save_openai(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_empty_is_not_overwritten(saved):
    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        save_openai(*saved)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("file", ["model.ckpt.index", "model.ckpt.data-00000-of-00001"])
def test_truncated_files_are_an_error(saved, file, fraction):
    path = saved[1] / file
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    message = r"/model.ckpt \(model.ckpt.data.*\) is not a complete TensorFlow checkpoint: "
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(saved[1])


def test_a_missing_data_file_is_an_error(saved):
    (saved[1] / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(ValueError, match=r"model.ckpt \(model.ckpt.index\) is not a complete "):
        GPT2LM.from_preset(saved[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"n_layer": 3},
            "^12 of the tensors in .* do not fit hparams.json: missing model/h2/ln_1/g",
        ),
        ({"n_layer": 1}, "^12 of the tensors in .* do not fit hparams.json: unexpected model/h1/"),
        ({"n_ctx": 8}, r"model/wpe of shape \(32, 16\), expected \(8, 16\)"),
        ({"n_head": None}, "hparams.json lacks n_head. It needs the keys n_vocab, "),
    ],
)
def test_hparams_that_do_not_fit_are_an_error(saved, changes, message):
    path = saved[1] / "hparams.json"
    hparams = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in hparams.items() if value}))
    with pytest.raises(ValueError, match=message):
        GPT2LM.from_preset(saved[1])


def test_a_model_without_a_tokenizer_is_saved_too(tmp_path):
    save_openai(random_model(), tmp_path / "model")
    assert GPT2LM.from_preset(tmp_path / "model").tokenizer is None
