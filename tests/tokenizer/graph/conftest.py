"""The in-graph tokenizer with GPT-2's vocabulary, in every way it can run."""

from collections.abc import Callable, Sequence

import pytest
import tensorflow as tf

from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from tests.tokenizer.reference_bpe import read_gpt2

Tokenize = Callable[[Sequence[bytes]], list[list[int]]]
WAYS = ("eager", "function", "dataset", "saved_model")


@pytest.fixture(scope="session")
def gpt2_graph(gpt2_files) -> GraphTokenizer:
    return GraphTokenizer(*read_gpt2(gpt2_files))


class Servable(tf.Module):
    """The tokenizer with the signatures of a SavedModel."""

    def __init__(self, tokenizer: GraphTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def tokenize(self, text):
        rows = self.tokenizer.tokenize(text)
        return {
            "token_ids": rows.to_tensor(),
            "num_tokens": tf.cast(rows.row_lengths(), tf.int32),
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, name="token_ids"),
            tf.TensorSpec([None], tf.int32, name="num_tokens"),
        ]
    )
    def detokenize(self, token_ids, num_tokens):
        text, text_bytes = self.tokenizer.detokenize(token_ids, num_tokens)
        return {"text": text, "text_bytes": text_bytes}


@pytest.fixture(scope="session")
def saved_model_folder(gpt2_graph, tmp_path_factory) -> str:
    folder = str(tmp_path_factory.mktemp("saved") / "1")
    servable = Servable(gpt2_graph)
    signatures = {"tokenize": servable.tokenize, "detokenize": servable.detokenize}
    tf.saved_model.save(servable, folder, signatures=signatures)
    return folder


@pytest.fixture(scope="session")
def saved_model(saved_model_folder):
    return tf.saved_model.load(saved_model_folder)


@pytest.fixture(scope="session", params=WAYS)
def tokenize(request, gpt2_graph) -> Tokenize:
    """Tokenizes a list of texts in one of the four ways."""
    if request.param == "eager":
        return lambda texts: gpt2_graph.tokenize(_strings(texts)).to_list()
    if request.param == "function":
        return in_function(gpt2_graph)
    if request.param == "dataset":
        signature = [tf.TensorSpec([None], tf.string)]
        function = tf.function(gpt2_graph.tokenize, input_signature=signature)
        return lambda texts: _through_dataset(function, texts)
    serve = request.getfixturevalue("saved_model").signatures["tokenize"]
    return lambda texts: _served(serve(text=_strings(texts)))


@pytest.fixture(scope="session")
def tokenize_fast(gpt2_graph) -> Tokenize:
    """Tokenizes a list of texts in a graph."""
    return in_function(gpt2_graph)


def in_function(tokenizer: GraphTokenizer) -> Tokenize:
    signature = [tf.TensorSpec([None], tf.string)]
    function = tf.function(tokenizer.tokenize, input_signature=signature)
    return lambda texts: function(_strings(texts)).to_list()


def _strings(texts: Sequence[bytes]) -> tf.Tensor:
    return tf.constant(list(texts), tf.string, shape=[len(texts)])


def _through_dataset(function, texts: Sequence[bytes]) -> list[list[int]]:
    dataset = tf.data.Dataset.from_tensors(_strings(texts)).unbatch().batch(512)
    return [row for rows in dataset.map(function) for row in rows.to_list()]


def _served(outputs) -> list[list[int]]:
    rows = outputs["token_ids"].numpy()
    return [row[:n].tolist() for row, n in zip(rows, outputs["num_tokens"].numpy(), strict=True)]
