"""What a run refuses, and what a full disk leaves."""

import resource
import shutil
import signal

import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.runs import Progress, RunDirectory, resume, train
from tests.models import TINY, random_model


def test_a_directory_that_holds_something_is_left_alone(make_settings, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"new or empty directory.*which holds 1 entries"):
        train(make_settings(), tmp_path, verbose=0, model_class=GPT2LM)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_tokenizer_than_the_shards_is_refused(make_settings, tmp_path):
    GPT2Tokenizer.train(["other words"], vocab_size=257).save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"tokenizer=.*other with 257 tokens, data=.*of another"):
        train(
            make_settings(tokenizer=str(tmp_path / "other")),
            tmp_path / "run",
            verbose=0,
            model_class=GPT2LM,
        )
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_vocabulary_is_refused(make_settings, tmp_path):
    shape = dict.fromkeys(("num_layers", "num_heads", "hidden_dim", "context_length"))
    random_model(TINY).save_to_preset(tmp_path / "bare")
    settings = make_settings(init=str(tmp_path / "bare"), **shape)
    with pytest.raises(ValueError, match=r"tokenizer\.vocab_size=280, config\.vocab_size=300"):
        train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    other = GPT2Tokenizer.train(["other words"] * 9, vocab_size=260)
    model = random_model(
        type(TINY)(**{**TINY.to_dict(), "vocab_size": other.vocab_size}), tokenizer=other
    )
    model.save_to_preset(tmp_path / "model")
    settings = make_settings(init=str(tmp_path / "model"), **shape)
    with pytest.raises(ValueError, match=r"init=.*model with 260 tokens, tokenizer=.* with 280"):
        train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    assert not (tmp_path / "run").exists()


def test_too_few_tokens_are_found_out_before_anything_is_made(make_settings, tmp_path):
    with pytest.raises(ValueError, match=r"context_length"):
        train(
            make_settings(context_length=100_000), tmp_path / "run", verbose=0, model_class=GPT2LM
        )
    assert not (tmp_path / "run").exists()


def test_what_is_no_run_cannot_be_resumed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds settings\.json\. Received: .*Start a run"):
        resume(tmp_path, model_class=GPT2LM)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"are JSON\. Received: .*settings\.json: .*Mend"):
        resume(tmp_path, model_class=GPT2LM)


@pytest.mark.parametrize("method", ["save", "save_model", "record"])
def test_a_full_disk_keeps_what_was_there(whole, tmp_path, method):
    """The process may write no larger files at step 8: what it writes there fails halfway."""
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(whole, run.path)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    checkpoint = run.last_checkpoint()
    model = GPT2LM(checkpoint.config, tokenizer=GPT2Tokenizer.from_directory(run.model))
    model.compile(jit_compile=False)
    progress = Progress(checkpoint.progress.history * 50, step=12)
    arguments = {"save": (model, progress, 2), "save_model": (model, progress)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        message = r"Received: .*run in step 12: .*Make room and resume: step-00000010 is whole"
        with pytest.raises(OSError, match=message):
            getattr(run, method)(*arguments.get(method, (progress,)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after == before
    assert run.last_whole_checkpoint() == checkpoint
