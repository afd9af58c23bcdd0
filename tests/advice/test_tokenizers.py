"""What the errors of tokenizers advise, done."""

import json

import pytest
import tensorflow as tf

from gpt2_keras import GPT2Tokenizer
from gpt2_keras.cli.main import main
from gpt2_keras.tokenizer.graph.layers import TokenizerLayer
from tests.advice.following import told, values_in
from tests.models import CORPUS


@pytest.fixture(scope="module")
def tokenizer():
    return GPT2Tokenizer.train(CORPUS, vocab_size=280)


@pytest.fixture
def files(tokenizer, tmp_path):
    """A tokenizer's directory."""
    tokenizer.save(tmp_path)
    return tmp_path


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def tokenizer_json(folder, tokenizer, **parts):
    """Writes a `tokenizer.json` alone, in the form of Hugging Face's library."""
    vocabulary = {text: i for i, text in enumerate(spelled(tokenizer, folder))}
    pipeline = {
        "added_tokens": [
            {"id": i, "content": text, "special": True}
            for text, i in tokenizer.special_tokens.items()
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:-1],
        },
    }
    alone = folder / "alone"
    alone.mkdir(exist_ok=True)
    (alone / "tokenizer.json").write_text(json.dumps(pipeline | parts), encoding="utf-8")
    return alone


def spelled(tokenizer, folder):
    ids = read(folder / "vocab.json")
    return sorted(ids, key=ids.get)


def test_a_post_processor_that_adds_tokens(files, tokenizer):
    added = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
    alone = tokenizer_json(files, tokenizer, post_processor=added)
    told(
        lambda: GPT2Tokenizer.from_directory(alone),
        "Set post_processor to null, and put the tokens into your texts yourself.",
    )
    alone = tokenizer_json(files, tokenizer, post_processor=None)
    assert GPT2Tokenizer.from_directory(alone) == tokenizer


@pytest.mark.parametrize("key", ["add_bos_token", "add_eos_token"])
def test_a_config_that_adds_tokens(key, files, tokenizer):
    path = files / "tokenizer_config.json"
    contents = read(path) if path.exists() else {}
    path.write_text(json.dumps(contents | {key: True}))
    advice = "Set it to false, and put it into your texts yourself."
    told(lambda: GPT2Tokenizer.from_directory(files), advice)
    path.write_text(json.dumps(contents | {key: False}))
    assert GPT2Tokenizer.from_directory(files) == tokenizer


def test_another_class_whose_ids_are_gpt2s(files, tokenizer):
    path = files / "tokenizer_config.json"
    contents = read(path) if path.exists() else {}
    path.write_text(json.dumps(contents | {"tokenizer_class": "BartTokenizer"}))
    advice = told(lambda: GPT2Tokenizer.from_directory(files), 'set it to "')
    name = advice.split('"')[1]
    path.write_text(json.dumps(contents | {"tokenizer_class": name}))
    assert GPT2Tokenizer.from_directory(files) == tokenizer


def test_a_special_token_that_changes_its_neighbours(files, tokenizer):
    (files / "added_tokens.json").write_text('{"[MASK]": 280}')
    (files / "special_tokens_map.json").write_text(
        json.dumps({"mask_token": {"content": "[MASK]", "lstrip": True}})
    )
    told(lambda: GPT2Tokenizer.from_directory(files), "Set it to false, as it is for GPT-2's")
    (files / "special_tokens_map.json").write_text(
        json.dumps({"mask_token": {"content": "[MASK]", "lstrip": False}})
    )
    assert GPT2Tokenizer.from_directory(files).encode("the[MASK]")[-1] == 280


def test_a_token_that_no_merge_makes(files):
    path = files / "vocab.json"
    path.write_text(json.dumps(read(path) | {"[CLS]": 280}))
    told(
        lambda: GPT2Tokenizer.from_directory(files),
        "if the token is special, name it in an added_tokens.json beside them.",
    )
    (files / "added_tokens.json").write_text('{"[CLS]": 280}')
    assert GPT2Tokenizer.from_directory(files).encode("the[CLS]")[-1] == 280


def test_a_directory_of_another_tokenizer(files, tokenizer, tmp_path):
    other = GPT2Tokenizer.train(CORPUS, vocab_size=270)
    advice = "Use an empty directory, or overwrite=True (--overwrite on the command line)."
    values = values_in(told(lambda: other.save(files), advice))
    other.save(tmp_path / "empty")
    other.save(files, **values)
    assert GPT2Tokenizer.from_directory(files) == other


def test_a_directory_without_a_tokenizer(tmp_path):
    advice = "Use another directory, or make one with `gpt2-keras tokenizer`."
    told(lambda: GPT2Tokenizer.from_directory(tmp_path), advice)
    text = tmp_path / "a.txt"
    text.write_text("".join(CORPUS))
    out = tmp_path / "tokenizer"
    main(["tokenizer", str(text), "--out", str(out), "--vocab-size", "280"])
    assert GPT2Tokenizer.from_directory(out).vocab_size == 280


@pytest.mark.parametrize("policy", ["<|endoftext|>", 3, ["[A]"]])
def test_special_tokens_that_are_none(policy, tokenizer):
    def encode(allowed):
        return tokenizer.encode("a<|endoftext|>", allowed_special=allowed)

    told(lambda: encode(policy), "'none', 'all', or a list of special tokens; there are ")
    assert len(encode("none")) > 2
    assert encode("all") == encode(["<|endoftext|>"])


@pytest.mark.parametrize("token", ["", "t", "<|endoftext|>"])
def test_a_new_special_token_that_is_no_new_text(token, tokenizer):
    told(
        lambda: tokenizer.with_special_tokens([token]),
        "Use new texts, each once, for example '<|user|>'.",
    )
    told(lambda: tokenizer.with_special_tokens("<|user|>"), "Use a list of str: ['<|user|>'].")
    assert tokenizer.with_special_tokens(["<|user|>"]).vocab_size == 281


def test_ids_of_another_tokenizer(tokenizer):
    larger = tokenizer.with_special_tokens(["[A]"])
    told(lambda: tokenizer.decode([280]), "Decode with the tokenizer that made the ids.")
    assert larger.decode([280]) == "[A]"
    told(lambda: tokenizer.decode("the"), "Use a list of them, for example [")
    assert tokenizer.decode([70])


def test_what_to_train_a_tokenizer_on():
    told(lambda: GPT2Tokenizer.train("the cat", 280), "Use an iterable of str: [text].")
    told(
        lambda: GPT2Tokenizer.train(["the"], 100),
        "That is the 256 bytes and <|endoftext|>; 4096 suits a small corpus.",
    )
    assert GPT2Tokenizer.train(["the cat"], 257).vocab_size == 257
    assert GPT2Tokenizer.train(["the cat the cat"], 4096).vocab_size > 257


def test_a_layer_of_two_tokenizers(tokenizer):
    def layer(tokens, merges, max_tokens=None):
        special = tokenizer.special_tokens
        return TokenizerLayer(tokens, merges, special, max_tokens=max_tokens)

    tokens, merges = tokenizer.token_bytes, tokenizer.merges
    advice = "Use the vocabulary and the merges of one tokenizer."
    told(lambda: layer(tokens, [(300, 301)]), advice)
    told(lambda: layer(tokens, [(0, 1), (279, 279)]), advice)
    told(lambda: layer([b"a"], []), "Add it to the vocabulary.")
    told(
        lambda: layer(tokens, merges, max_tokens=0),
        "Or None for the number of tokens of the longest text.",
    )
    ids, _ = layer(tokens, merges, None)(tf.constant(["the cat"]))
    assert ids.numpy().tolist() == [tokenizer.encode("the cat")]
