"""The Keras layers of the tokenizer."""

import keras
import pytest
import tensorflow as tf

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.graph.layers import DetokenizerLayer, TokenizerLayer

TOKENS = [*(bytes([value]) for value in range(256)), b"he", b"hey", b"<end>"]
MERGES = [(104, 101), (256, 121)]
SPECIAL = {"<end>": 258}


def small_layer(**kwargs):
    return TokenizerLayer(TOKENS, MERGES, SPECIAL, **kwargs)


def lists(outputs):
    return [output.numpy().tolist() for output in outputs]


def test_short_texts_are_padded():
    assert lists(small_layer(pad_id=7)(tf.constant(["hey a", "", "h"]))) == [
        [[257, 32, 97], [7, 7, 7], [104, 7, 7]],
        [3, 0, 1],
    ]


def test_max_tokens_truncates_and_fixes_the_width():
    layer = small_layer(max_tokens=2)
    assert lists(layer(tf.constant(["hey a", "h"]))) == [[[257, 32], [104, 0]], [2, 1]]
    assert lists(layer(tf.constant(["h"]))) == [[[104, 0]], [1]]


def test_a_special_token_is_plain_text_unless_allowed():
    text = tf.constant(["a<end>"])
    plain = [97, *b"<end>"]
    assert lists(small_layer()(text)) == [[plain], [6]]
    for allowed in ("all", ["<end>"]):
        assert lists(small_layer(allowed_special=allowed)(text)) == [[[97, 258]], [2]]


def test_detokenizing_inverts_tokenizing():
    texts = [b"hey, he said<end>", b"\xff\xc3", "né".encode()]
    token_ids, num_tokens = small_layer(allowed_special="all")(tf.constant(texts))
    text, text_bytes = DetokenizerLayer(TOKENS, MERGES, SPECIAL)(token_ids, num_tokens)
    assert text_bytes.numpy().tolist() == texts
    assert text.numpy().tolist() == [t.decode(errors="replace").encode() for t in texts]


def test_a_keras_file_keeps_the_vocabulary(tmp_path):
    texts = keras.Input((), dtype="string")
    ids, counts = small_layer(allowed_special="all", pad_id=3, max_tokens=4)(texts)
    model = keras.Model(
        texts, [ids, counts, *DetokenizerLayer(TOKENS, MERGES, SPECIAL)(ids, counts)]
    )
    model.save(tmp_path / "tokenizer.keras")
    loaded = keras.models.load_model(tmp_path / "tokenizer.keras")
    batch = tf.constant(["hey<end>", "a b c d e"])
    assert lists(loaded(batch)) == lists(model(batch))
    assert lists(loaded(batch))[0] == [[257, 258, 3, 3], [97, 32, 98, 32]]


def test_the_config_makes_the_same_layer():
    layer = small_layer(allowed_special=["<end>"], max_tokens=9, name="mine")
    again = TokenizerLayer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.tokens == TOKENS
    assert again.name == "mine"


def test_from_tokenizer_has_the_ids_of_the_host_tokenizer():
    host = GPT2Tokenizer.train(["low lower lowest"], vocab_size=262)
    texts = ["slow", "lower<|endoftext|>"]
    token_ids, num_tokens = TokenizerLayer.from_tokenizer(host, allowed_special="all")(
        tf.constant(texts)
    )
    rows = [row[:n] for row, n in zip(*lists((token_ids, num_tokens)), strict=True)]
    assert rows == host.encode(texts, allowed_special="all")
    text, _ = DetokenizerLayer.from_tokenizer(host)(token_ids, num_tokens)
    assert text.numpy().tolist() == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_tokens": 0}, ValueError, r"^max_tokens=0 is less than 1\. .*Or None for"),
        ({"max_tokens": True}, TypeError, r"^max_tokens=True is a bool\."),
        ({"max_tokens": float("nan")}, TypeError, r"^max_tokens=nan is a float\."),
        ({"pad_id": 1.5}, TypeError, r"^pad_id=1\.5 is a float\. Use an integer\."),
        ({"allowed_special": ["<pad>"]}, ValueError, r"'<pad>', no special .*\['<end>'\]\."),
        ({"allowed_special": "<end>"}, ValueError, r"^allowed_special='<end>' is one str\."),
        ({"unicode_version": "3.0"}, ValueError, r"^unicode_version='3\.0' is unknown\."),
    ],
)
def test_bad_arguments_are_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        small_layer(**arguments)
