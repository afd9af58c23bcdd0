"""A corpus, its tokenizer and its shards."""

import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.data import prepare
from gpt2_keras.runs import TrainingSettings, train
from tests.models import CORPUS


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder of `shards` and `tokenizer`."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "text.txt").write_text("".join(CORPUS) * 4, encoding="utf-8")
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280)
    tokenizer.save(folder / "tokenizer")
    prepare([folder / "text.txt"], tokenizer, folder / "shards")
    return folder


@pytest.fixture(scope="session")
def make_settings(prepared):
    """Settings of a run that takes a second."""

    def make(**changes):
        fields = {
            "data": str(prepared / "shards"),
            "tokenizer": str(prepared / "tokenizer"),
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": 16,
            "context_length": 8,
            "dropout_rate": 0.5,
            "steps": 10,
            "batch_size": 4,
            "learning_rate": 0.01,
            "evaluate_every": 4,
            "evaluation_batches": 5,
            "jit_compile": False,
        }
        return TrainingSettings(**{**fields, **changes})

    return make


@pytest.fixture(scope="session")
def whole(make_settings, tmp_path_factory):
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(make_settings(), out, verbose=0, model_class=GPT2LM)
    return out
