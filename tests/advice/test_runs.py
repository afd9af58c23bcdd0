"""What the errors of runs advise, done."""

import dataclasses

import pytest

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from gpt2_keras.data import prepare
from gpt2_keras.runs import TrainingSettings, resume, train
from gpt2_keras.runs.strategies import Strategy
from tests.advice.following import follow, told
from tests.models import CORPUS, TINY, random_model

SHAPE = {"num_layers": 1, "num_heads": 2, "hidden_dim": 16, "context_length": 8}


@pytest.fixture(scope="module")
def make_settings(tmp_path_factory):
    """Settings of a run that takes a second."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "text.txt").write_text("".join(CORPUS), encoding="utf-8")
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280)
    tokenizer.save(folder / "tokenizer")
    prepare([folder / "text.txt"], tokenizer, folder / "shards")
    data = {"data": str(folder / "shards"), "tokenizer": str(folder / "tokenizer")}
    small = {"steps": 2, "batch_size": 4, "evaluate_every": 2, "evaluation_batches": 1}

    def make(**changes):
        return TrainingSettings(**{**data, **small, **SHAPE, **changes})

    return make


def run(settings, out):
    return train(settings, out, verbose=0, model_class=GPT2LM)


def test_a_shape_beside_a_size(make_settings):
    told(lambda: make_settings(size="gpt2"), "Leave out one or the other.")
    assert make_settings()
    assert make_settings(size="gpt2", **dict.fromkeys(SHAPE)).model_config(9).num_layers == 12


def test_a_warm_up_of_all_steps(make_settings):
    advice = "Leave it out for a twentieth of the steps."
    told(lambda: make_settings(steps=40, warmup_steps=40), advice)
    assert make_settings(steps=40).with_defaults(warmup_steps=2).warmup_steps == 2


@pytest.mark.parametrize("padding", [24, 2000])
def test_a_bare_checkpoint_of_a_padded_vocabulary(padding, make_settings, tmp_path):
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": 280 + padding})
    random_model(config).save_to_preset(tmp_path / "bare")
    settings = make_settings(init=str(tmp_path / "bare"), **dict.fromkeys(SHAPE))
    if padding > 1023:  # no longer what pads a vocabulary
        advice = "`from_preset(…, vocab_size=280)` leaves out the later embeddings."
        told(lambda: run(settings, tmp_path / "run"), advice)
        GPT2LM.from_preset(tmp_path / "bare", vocab_size=280).save_to_preset(tmp_path / "cut")
        settings = dataclasses.replace(settings, init=str(tmp_path / "cut"))
    assert run(settings, tmp_path / "run").config.vocab_size == 280


def test_a_window_longer_than_the_context(make_settings, tmp_path):
    random_model(GPT2Config(**{**TINY.to_dict(), "vocab_size": 280})).save_to_preset(tmp_path / "m")

    def trained(context_length):
        shape = dict.fromkeys(SHAPE) | {"context_length": context_length}
        return run(make_settings(init=str(tmp_path / "m"), **shape), tmp_path / "run")

    assert follow(trained, "Use at most context_length=", context_length=33)


def test_fewer_or_more_steps(make_settings, tmp_path):
    def resumed(name, steps):
        return resume(tmp_path / name, steps=steps, verbose=0, model_class=GPT2LM)

    run(make_settings(), tmp_path / "cosine")
    told(lambda: resumed("cosine", 1), "Use 2 or more.")
    told(lambda: resumed("cosine", 3), "Start a new run from its model instead (--init).")
    more = make_settings(init=str(tmp_path / "cosine"), **dict.fromkeys(SHAPE))
    assert run(more, tmp_path / "more")
    run(make_settings(schedule="constant"), tmp_path / "constant")
    assert resumed("constant", 3)


def test_another_tokenizer_than_that_of_the_shards(make_settings, tmp_path):
    other = GPT2Tokenizer.train(CORPUS, vocab_size=270)
    other.save(tmp_path / "other")
    settings = make_settings(tokenizer=str(tmp_path / "other"))
    advice = "Prepare the text again with this tokenizer, or use the one that made the token "
    told(lambda: run(settings, tmp_path / "run"), advice)
    (tmp_path / "text.txt").write_text("".join(CORPUS), encoding="utf-8")
    prepare([tmp_path / "text.txt"], other, tmp_path / "shards")
    again = dataclasses.replace(settings, data=str(tmp_path / "shards"))
    assert run(again, tmp_path / "again").tokenizer == other
    assert run(make_settings(), tmp_path / "run").tokenizer.vocab_size == 280


def test_a_model_of_another_tokenizer(make_settings, tmp_path):
    other = GPT2Tokenizer.train(CORPUS, vocab_size=270)
    config = GPT2Config(**{**TINY.to_dict(), "vocab_size": 270})
    random_model(config, other).save_to_preset(tmp_path / "model")
    settings = make_settings(init=str(tmp_path / "model"), **dict.fromkeys(SHAPE))
    advice = "Prepare the text again with the tokenizer of the model."
    told(lambda: run(settings, tmp_path / "run"), advice)
    (tmp_path / "text.txt").write_text("".join(CORPUS), encoding="utf-8")
    tokenizer = GPT2Tokenizer.from_directory(tmp_path / "model")
    prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "shards")
    again = dataclasses.replace(
        settings, data=str(tmp_path / "shards"), tokenizer=str(tmp_path / "model")
    )
    assert run(again, tmp_path / "run")


@pytest.mark.parametrize(("batch_size", "replicas"), [(4, 3), (1, 8), (9, 2)])
def test_a_batch_that_devices_cannot_share(batch_size, replicas):
    strategy = Strategy(num_replicas=replicas, num_devices=replicas)

    def check(batch_size):
        strategy.check(TINY, batch_size, "float32")
        return batch_size

    assert follow(check, "Use, for example, batch_size=", batch_size=batch_size) >= batch_size
