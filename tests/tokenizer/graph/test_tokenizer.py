"""The interface of the in-graph tokenizer, and vocabularies other than GPT-2's."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.graph.merge_tables import build_merge_tables
from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from gpt2_keras.tokenizer.unicode_classes import UNICODE_VERSION
from tests.tokenizer.graph.conftest import in_function
from tests.tokenizer.nasty import random_text, seeded, trained_vocabulary
from tests.tokenizer.reference_bpe import END_OF_TEXT, ReferenceTokenizer

BYTES = [bytes([value]) for value in range(256)]


def random_words(seed, alphabet=b" abcde'\xc3\xa9"):
    rng = seeded(seed)
    return [bytes(rng.choices(alphabet, k=rng.randint(0, 60))) for _ in range(400)]


@pytest.mark.parametrize("num_merges", [0, 1, 40, 700])
@pytest.mark.parametrize("in_order", [True, False])
def test_any_vocabulary_gives_the_ids_of_the_reference(num_merges, in_order):
    for seed in range(3):
        tokens, merges = trained_vocabulary(seed, num_merges, in_order=in_order)
        tables = build_merge_tables(tokens, merges, {})
        assert tables.symbols.is_ordered or not in_order
        tokenizer = GraphTokenizer(tokens, merges, {})
        texts = random_words(seed)
        reference = ReferenceTokenizer(tokens, merges)
        assert tokenizer.tokenize(texts).to_list() == [reference.encode(text) for text in texts]


def test_an_unordered_vocabulary_has_no_tokens_to_look_up():
    tokens, merges = trained_vocabulary(0, 700, in_order=False)
    tables = build_merge_tables(tokens, merges, {})
    assert not tables.symbols.is_ordered
    assert len(tables.whole) == 0


@pytest.mark.slow
def test_a_vocabulary_of_100000_merges_is_exact():
    tokens, merges = trained_vocabulary(1, 100_000, alphabet=bytes(range(97, 123)) + b" ")
    tokenizer = GraphTokenizer(tokens, merges, {})
    texts = random_words(1, bytes(range(97, 123)) + b" ")
    reference = ReferenceTokenizer(tokens, merges)
    assert tokenizer.tokenize(texts).to_list() == [reference.encode(text) for text in texts]


def test_the_ids_are_those_of_the_host_tokenizer():
    text = "the cat sat on the mat, the rat's hat; café ünïcödé. " * 20
    host = GPT2Tokenizer.train([text], vocab_size=300)
    graph = GraphTokenizer.from_tokenizer(host)
    assert graph.vocab_size == host.vocab_size
    texts = [text, "the hat's café\n\n", "", END_OF_TEXT]
    assert graph.tokenize(texts).to_list() == [host.encode(t) for t in texts]


def test_special_tokens_are_found_where_allowed(gpt2_graph, openai):
    texts = [
        "",
        END_OF_TEXT,
        f"a{END_OF_TEXT}b",
        END_OF_TEXT * 3,
        f"<{END_OF_TEXT}>",
        "<|endoftext|",
    ]
    texts += [f"it'{END_OF_TEXT}s", f"a  {END_OF_TEXT}  b {END_OF_TEXT}'s", f"<|endof{END_OF_TEXT}"]
    got = gpt2_graph.tokenize(texts, allowed_special={END_OF_TEXT}).to_list()
    assert got == [openai.encode(text, allowed_special="all") for text in texts]
    plain = gpt2_graph.tokenize(texts).to_list()
    assert plain == [openai.encode(text, disallowed_special=()) for text in texts]


def test_a_special_token_across_two_texts_is_not_found(gpt2_graph):
    rows = gpt2_graph.tokenize(["<|endof", "text|>"], allowed_special=[END_OF_TEXT]).to_list()
    assert 50256 not in rows[0] + rows[1]


def test_of_overlapping_special_tokens_the_leftmost_and_longest_is_found():
    specials = {"<a>": 256, "<a><b>": 257, "><": 258, "<b><": 259}
    tokenizer = GraphTokenizer([*BYTES, *(text.encode() for text in specials)], [], specials)
    texts = ["<a><b>", "<a><a><b><", "<b><b><a>", "<a>><"]
    assert tokenizer.tokenize(texts, allowed_special=list(specials)).to_list() == [
        [257],
        [256, 257, 60],
        [259, *b"b", 258, *b"a>"],
        [256, 258],
    ]


def test_all_allows_every_special_token(gpt2_graph):
    assert gpt2_graph.tokenize([f"a{END_OF_TEXT}"], "all").to_list() == [[64, 50256]]


def test_an_unknown_special_token_is_an_error(gpt2_graph):
    with pytest.raises(ValueError, match=r"^allowed_special has '<pad>', no special token\."):
        gpt2_graph.tokenize(["a"], allowed_special=["<pad>"])


def test_detokenizing_replaces_invalid_bytes_as_python_does(gpt2_graph):
    rng = seeded(4)
    texts = [random_text(rng, broken=True) for _ in range(3000)]
    rows = gpt2_graph.tokenize(texts)
    text, text_bytes = gpt2_graph.detokenize(rows.to_tensor(), rows.row_lengths())
    assert text_bytes.numpy().tolist() == texts
    assert text.numpy().tolist() == [t.decode("utf-8", "replace").encode() for t in texts]


def test_each_row_is_detokenized_to_its_own_length(saved_model):
    detokenize = saved_model.signatures["detokenize"]
    ids = tf.constant([[15496, 995, 0], [50256, 7, 7], [1, 2, 3]])
    out = detokenize(token_ids=ids, num_tokens=tf.constant([2, 1, 0]))
    assert out["text_bytes"].numpy().tolist() == [b"Hello world", END_OF_TEXT.encode(), b""]
    assert out["text"].numpy().tolist() == out["text_bytes"].numpy().tolist()
    empty = detokenize(token_ids=tf.zeros([0, 0], tf.int32), num_tokens=tf.zeros([0], tf.int32))
    assert empty["text"].shape == (0,)


def test_ids_outside_the_vocabulary_give_no_bytes(gpt2_graph):
    _, text_bytes = gpt2_graph.detokenize([[-1, 64, 50257, 65, 2**31 - 1]], [5])
    assert text_bytes.numpy().tolist() == [b"ab"]


def test_a_saved_model_has_core_ops_and_no_table_or_variable(saved_model_folder):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString(Path(saved_model_folder, "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    ops = sorted({node.op for node in nodes})
    print(ops)
    unwanted = ("Table", "PyFunc", "EagerPy", "Regex", "Variable", "VarHandle", "Lookup", "Text")
    # The writer of checkpoints, in each SavedModel, matches names by one.
    assert [op for op in ops if any(s in op for s in unwanted)] == ["StaticRegexFullMatch"]


def test_a_saved_model_has_the_version_of_unicode(saved_model_folder, gpt2_graph):
    assert gpt2_graph.unicode_version == UNICODE_VERSION
    content = Path(saved_model_folder, "saved_model.pb").read_bytes()
    named = set(re.findall(rb"unicode-([0-9.]+)/", content))
    assert named == {UNICODE_VERSION.encode()}


def test_memory_and_time_stay_bounded_in_the_number_of_texts(gpt2_graph):
    rows = in_function(gpt2_graph)([b"a b"] * 20_000)
    assert np.array(rows).shape == (20_000, 2)
