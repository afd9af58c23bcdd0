"""Every JSON file of a checkpoint with every value replaced: it loads, or the error is ours.

A file that someone edited, truncated or made by another program may have any value anywhere.
No such value may end as a traceback of Python's own, take memory for a number that a file names,
or be read as something else.
"""

import json
import shutil
import traceback
import warnings

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.checkpoints import save_keras_hub, save_openai
from gpt2_keras.data import TokenShards, prepare
from gpt2_keras.finetuning import (
    GPT2Classifier,
    add_special_tokens,
    enable_lora,
    load_adapter,
    save_adapter,
)
from gpt2_keras.generation.defaults import default_processors, default_sampler
from gpt2_keras.runs import RunDirectory, TrainingSettings
from tests.models import CORPUS, text_model

DELETED = object()
VALUES = [None, True, -1, 0, 1, 10**12, 10**30, float("inf"), float("nan"), 1.5, "", "x", "../../x",
          [], [None], [[]], ["a", "b"], {}, {"a": 1}, "\ud800", DELETED]  # fmt: skip
TEXTS = ["", "[", "NaN", '"x"', "1" * 5000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000]


@pytest.fixture(scope="module")
def model():
    return add_special_tokens(text_model(num_layers=1), ["<|user|>"])


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    """A model directory with every file of a tokenizer, and every key of generation."""
    directory = tmp_path_factory.mktemp("model") / "model"
    model.save_to_preset(directory)
    user = model.tokenizer.special_tokens["<|user|>"]
    config = json.loads((directory / "tokenizer_config.json").read_text())
    flags = {"content": "<|user|>", "lstrip": False, "special": True}
    files = {
        "added_tokens.json": {"<|user|>": user},
        "special_tokens_map.json": {
            "eos_token": {"content": "<|endoftext|>", "lstrip": False},
            "additional_special_tokens": ["<|user|>", {"content": "<|user|>"}],
        },
        "tokenizer_config.json": {**config, "added_tokens_decoder": {str(user): flags}},
        "generation_config.json": {
            "eos_token_id": [3, 4], "do_sample": True, "temperature": 0.7, "top_k": 5,
            "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "repetition_penalty": 1.1,
            "no_repeat_ngram_size": 2, "max_new_tokens": 5, "min_new_tokens": 1, "num_beams": 1,
            "length_penalty": 1.0, "bad_words_ids": [[5]], "suppress_tokens": [6],
        },
    }  # fmt: skip
    for name, contents in files.items():
        (directory / name).write_text(json.dumps(contents))
    return directory


def places(node, path=()):
    """The paths to the values of a JSON tree; of long lists and objects the ends."""
    yield path
    items = list(node.items() if isinstance(node, dict) else enumerate(node))
    for key, value in items if len(items) < 40 else [*items[:2], *items[-2:]]:
        inner = (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, inner)
        else:
            yield inner


def changed(tree, path, value):
    tree = json.loads(json.dumps(tree))
    if not path:
        return value
    node = tree
    for key in path[:-1]:
        node = node[key]
    if value is DELETED:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return tree


def wrong_texts(text):
    """The text of a JSON file with one value replaced, for each value and each replacement."""
    tree = json.loads(text)
    for path in places(tree):
        for value in VALUES:
            if path or value is not DELETED:
                yield json.dumps(changed(tree, path, value))
    yield from TEXTS


def is_ours(error):
    """Whether an error was raised by a statement of this package, with words of its own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return "/gpt2_keras/" in last.filename and "raise " in (last.line or "")


def assert_loads_or_is_an_error_of_ours(path, load):
    original = path.read_text()
    leaked, num_errors = {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in wrong_texts(original):
            path.write_text(text)
            try:
                load()
            except Exception as error:
                num_errors += 1
                if not is_ours(error):
                    leaked.setdefault(f"{type(error).__name__}: {error}"[:100], text[:300])
    assert leaked == {}
    assert num_errors > 10  # it is read at all


def copied(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "copy")


TOKENIZER_FILES = ["vocab.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json",
                   "special_tokens_map.json"]  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZER_FILES)
def test_files_of_a_tokenizer(directory, tmp_path, name):
    copy = copied(directory, tmp_path)
    assert_loads_or_is_an_error_of_ours(copy / name, lambda: GPT2Tokenizer.from_directory(copy))


def test_a_tokenizer_of_one_file(directory, tmp_path):
    path = tmp_path / "tokenizer.json"
    shutil.copy(directory / path.name, path)
    assert_loads_or_is_an_error_of_ours(path, lambda: GPT2Tokenizer.from_directory(tmp_path))


def test_the_config(directory, tmp_path):
    copy = copied(directory, tmp_path)
    assert_loads_or_is_an_error_of_ours(copy / "config.json", lambda: GPT2LM.from_preset(copy))


def test_the_generation_config(directory, tmp_path):
    copy = copied(directory, tmp_path)

    def load():
        model = GPT2LM.from_preset(copy)
        default_sampler(model)
        default_processors(model).to_tensors(model)

    assert_loads_or_is_an_error_of_ours(copy / "generation_config.json", load)


def test_an_index_of_shards(directory, tmp_path):
    copy = copied(directory, tmp_path)
    (copy / "model.safetensors").rename(copy / "one.safetensors")
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {"a": "one.safetensors"}}))
    assert_loads_or_is_an_error_of_ours(index, lambda: GPT2LM.from_preset(copy))


@pytest.mark.parametrize("save", [save_openai, save_keras_hub])
def test_the_sizes_of_another_system(model, tmp_path, save):
    save(model, tmp_path / "model")
    name = "hparams.json" if save is save_openai else "config.json"
    path = tmp_path / "model" / name
    assert_loads_or_is_an_error_of_ours(path, lambda: GPT2LM.from_preset(tmp_path / "model"))


def test_the_vocabulary_of_a_preset_of_kerashub(model, tmp_path):
    save_keras_hub(model, tmp_path / "model")
    path = tmp_path / "model" / "assets" / "tokenizer" / "vocabulary.json"
    assert_loads_or_is_an_error_of_ours(path, lambda: GPT2LM.from_preset(tmp_path / "model"))


def test_an_adapter(tmp_path):
    model = text_model(num_layers=1)
    enable_lora(model, 2)
    save_adapter(model, tmp_path / "adapter")

    def load():
        load_adapter(text_model(num_layers=1), tmp_path / "adapter")

    assert_loads_or_is_an_error_of_ours(tmp_path / "adapter" / "adapter_config.json", load)


def test_a_classifier(tmp_path):
    path = tmp_path / "model"
    GPT2Classifier(text_model(num_layers=1), ["a", "b"]).save_to_preset(path)
    config = json.loads((path / "config.json").read_text())
    kept = {"architectures", "id2label", "label2id", "pad_token_id", "model_type"}
    others = {key: config[key] for key in config.keys() - kept}  # those of `test_the_config`

    def load():
        text = (path / "config.json").read_text()
        if text not in TEXTS and isinstance(found := json.loads(text), dict):
            (path / "config.json").write_text(json.dumps({**others, **found}))
        GPT2Classifier.from_preset(path)

    (path / "config.json").write_text(json.dumps({key: config[key] for key in kept}))
    assert_loads_or_is_an_error_of_ours(path / "config.json", load)


def test_an_index_of_token_shards(model, tmp_path):
    (tmp_path / "a.txt").write_text(CORPUS[0] * 9)
    prepare([tmp_path / "a.txt"], model.tokenizer, tmp_path / "tokens")

    def load():
        shards = TokenShards.open(tmp_path / "tokens")
        np.asarray(shards[:3])

    assert_loads_or_is_an_error_of_ours(tmp_path / "tokens" / "index.json", load)


def test_the_settings_of_a_run(tmp_path):
    run = RunDirectory(tmp_path)
    run.settings_file.write_text(TrainingSettings("tokens", "tokenizer").to_json())
    assert_loads_or_is_an_error_of_ours(run.settings_file, lambda: run.settings())
