"""The tokenizer of a `.tflite` has OpenAI's ids, by builtin ops."""

import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from gpt2_keras.tokenizer.graph.litert import write_litert
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from tests.tokenizer.multilingual import TEXTS
from tests.tokenizer.nasty import random_text, seeded

interpreter = pytest.importorskip("ai_edge_litert.interpreter")
SPECIALS = {"<a>": 256, "<a><b>": 257, "><": 258, "<b><": 259}
MAX_FILE_SIZE = 2_000_000  # bytes, of the tables of both directions


@pytest.fixture(scope="module")
def tflite(gpt2_graph, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "tokenizer.tflite"
    write_litert(gpt2_graph, path)
    write_litert(gpt2_graph, f"{path}.special", allowed_special=["<|endoftext|>"])
    tokens = [*(bytes([value]) for value in range(256)), *map(str.encode, SPECIALS)]
    small = GraphTokenizer(tokens, [], SPECIALS)
    write_litert(small, f"{path}.overlapping", allowed_special=list(SPECIALS))
    return path


@pytest.fixture(scope="module")
def tokenize(tflite):
    runner = interpreter.Interpreter(str(tflite)).get_signature_runner("tokenize")

    def run(text):
        outputs = runner(text=np.frombuffer(text, np.uint8))
        assert outputs["token_ids"].dtype == np.int32
        assert outputs["num_tokens"] == len(outputs["token_ids"])
        return outputs["token_ids"].tolist()

    return run


@pytest.fixture(scope="module")
def detokenize(tflite):
    runner = interpreter.Interpreter(str(tflite)).get_signature_runner("detokenize")

    def run(ids):
        outputs = runner(token_ids=np.array(ids, np.int32))
        return outputs["text"].tobytes(), outputs["text_bytes"].tobytes()

    return run


def test_only_builtin_ops_are_in_the_file(tflite):
    model = schema.Model.GetRootAsModel(tflite.read_bytes(), 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    print(sorted(names[code.BuiltinCode()] for code in codes))
    assert all(code.CustomCode() is None for code in codes)
    assert schema.BuiltinOperator.CUSTOM not in [code.BuiltinCode() for code in codes]


def test_the_tables_are_small(tflite):
    assert tflite.stat().st_size <= MAX_FILE_SIZE


def test_nasty_texts_have_the_ids_of_the_reference(tokenize, reference):
    rng = seeded(5)
    texts = [b"", b" ", b"a", b"\xff", *(random_text(rng, broken=i % 2 == 0) for i in range(1500))]
    assert [text for text in texts if tokenize(text) != reference.encode(text)] == []


def test_languages_have_openais_ids(tokenize, openai):
    texts = [*TEXTS.values(), " ".join(TEXTS.values()), "a" * 5000, " " * 5000]
    assert [t for t in texts if tokenize(t.encode()) != openai.encode_ordinary(t)] == []


@pytest.mark.parametrize("name", ["tinyshakespeare.txt", "wikitext2-valid.txt"])
def test_texts_have_openais_ids(name, text_files, tokenize, openai):
    text = (text_files / name).read_text(encoding="utf-8")
    assert tokenize(text.encode()) == openai.encode_ordinary(text)
    passages = [text[i : i + 1000] for i in range(0, 200_000, 1000)]
    assert [t for t in passages if tokenize(t.encode()) != openai.encode_ordinary(t)] == []


def test_detokenizing_gives_the_bytes_and_valid_text(tokenize, detokenize):
    rng = seeded(6)
    for _ in range(500):
        text = random_text(rng, broken=True)
        valid = text.decode("utf-8", "replace").encode()
        assert detokenize(tokenize(text)) == (valid, text)


def test_special_tokens_become_their_ids_where_allowed(tflite, tokenize, openai):
    special = interpreter.Interpreter(f"{tflite}.special").get_signature_runner("tokenize")
    text = "a<|endoftext|>b <|endoftext|><|endoftext|>'s <|endof"
    ids = special(text=np.frombuffer(text.encode(), np.uint8))["token_ids"].tolist()
    assert ids == openai.encode(text, allowed_special="all")
    assert tokenize(text.encode()) == openai.encode_ordinary(text)


def test_of_overlapping_special_tokens_the_leftmost_and_longest_is_found(tflite):
    run = interpreter.Interpreter(f"{tflite}.overlapping").get_signature_runner("tokenize")
    texts = {
        b"": [],
        b"no special": [*b"no special"],
        b"<a><b>": [257],
        b"<a><a><b><": [256, 257, 60],
        b"<b><b><a>": [259, *b"b", 258, *b"a>"],
        b"<a>><": [256, 258],
    }
    for text, ids in texts.items():
        assert run(text=np.frombuffer(text, np.uint8))["token_ids"].tolist() == ids


def test_a_path_that_is_none_is_an_error(gpt2_graph):
    with pytest.raises(TypeError, match=r"^path is None\. Use a path\."):
        write_litert(gpt2_graph, None)
