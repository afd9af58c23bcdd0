"""Errors of runs: wrong arguments before any work, directories, a full disk."""

import dataclasses
import re
import resource
import shutil
import signal

import pytest

from gpt2_keras import GPT2LM, GPT2Tokenizer
from gpt2_keras.runs import Progress, RunDirectory, resume, train
from tests.models import TINY, random_model, text_model
from tests.runs.runs import At

ARGUMENTS = [
    ({"model_class": None}, "model_class=None is no model class. Use GPT2LM."),
    ({"model_class": int}, "model_class=<class 'int'> is no model class. Use GPT2LM."),
    ({"out": 3}, "out=3 is an int. Use a path."),
    ({"out": None}, "out is None. Use a path."),
    ({"callbacks": At(1, None)}, "is an At. Use a list of Keras callbacks."),
    ({"callbacks": ["early"]}, "callbacks[0]='early' is a str. Use a Keras callback."),
    ({"verbose": True}, "verbose=True is a bool. Use an integer from 0 to 2."),
    ({"verbose": "loud"}, "verbose='loud' is a str. Use an integer from 0 to 2. Or use \"auto\"."),
    ({"verbose": float("nan")}, "verbose=nan is a float. Use an integer from 0 to 2."),
]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *ARGUMENTS,
        ({"settings": {"steps": 3}}, "settings={'steps': 3} is a dict. Use TrainingSettings."),
    ],
)
def test_train_checks_its_arguments_first(changes, message, make_settings, tmp_path):
    arguments = {"settings": make_settings(), "out": tmp_path / "run", "model_class": GPT2LM}
    with pytest.raises(TypeError, match=re.escape(message)):
        train(**{**arguments, **changes})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *ARGUMENTS,
        ({"steps": 20.0}, "steps=20.0 is a float. Use an integer"),
        ({"steps": True}, "steps=True is a bool. Use an integer"),
        ({"skip_batches": 1.5}, "skip_batches=1.5 is a float. Use an integer of at least 0."),
        ({"skip_batches": True}, "skip_batches=True is a bool. Use an integer of at least 0."),
    ],
)
def test_resume_checks_its_arguments_first(changes, message, whole):
    with pytest.raises(TypeError, match=re.escape(message)):
        resume(**{"out": whole, "model_class": GPT2LM, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verbose": 3}, "verbose=3 is greater than 2. Use an integer from 0 to 2."),
        ({"skip_batches": -1}, "skip_batches=-1 is less than 0. Use an integer of at least 0."),
        ({"steps": -1}, "steps=-1 is less than 1. Use an integer of at least 1."),
        ({"steps": 5}, "steps=5 is less than steps=10, which the run began with."),
        ({"steps": 20}, "steps=20 extends a run of steps=10 with schedule='cosine'"),
    ],
)
def test_resume_checks_the_ranges_of_its_arguments(changes, message, whole):
    with pytest.raises(ValueError, match=re.escape(message)):
        resume(whole, **{"verbose": 0, "model_class": GPT2LM, **changes})


def test_a_directory_that_holds_something_is_left_alone(make_settings, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not empty \(it has 1 entries\)"):
        train(make_settings(), tmp_path, verbose=0, model_class=GPT2LM)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_another_tokenizer_than_that_of_the_shards_is_an_error(make_settings, tmp_path):
    GPT2Tokenizer.train(["other words"], vocab_size=257).save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"tokenizer=.*other', .* of 257, did not make data=.*280"):
        train(
            make_settings(tokenizer=str(tmp_path / "other")),
            tmp_path / "run",
            verbose=0,
            model_class=GPT2LM,
        )
    assert not (tmp_path / "run").exists()


def test_a_model_of_another_vocabulary_is_an_error(make_settings, tmp_path):
    shape = dict.fromkeys(("num_layers", "num_heads", "hidden_dim", "context_length"))
    small = type(TINY)(**{**TINY.to_dict(), "vocab_size": 270})  # a larger one may be padded
    random_model(small).save_to_preset(tmp_path / "bare")
    settings = make_settings(init=str(tmp_path / "bare"), **shape)
    with pytest.raises(
        ValueError, match=r"tokenizer\.vocab_size=280 is not config\.vocab_size=270"
    ):
        train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    other = GPT2Tokenizer.train(["other words"] * 9, vocab_size=260)
    model = random_model(
        type(TINY)(**{**TINY.to_dict(), "vocab_size": other.vocab_size}), tokenizer=other
    )
    model.save_to_preset(tmp_path / "model")
    settings = make_settings(init=str(tmp_path / "model"), **shape)
    with pytest.raises(ValueError, match=r"init=.*model' has another .* of 260, than .* of 280\."):
        train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    assert not (tmp_path / "run").exists()


def test_a_text_shorter_than_the_context_trains_in_shorter_windows(make_settings, tmp_path):
    shape = dict.fromkeys(("num_layers", "num_heads", "hidden_dim", "context_length"))
    model = text_model(context_length=2048)
    model.save_to_preset(tmp_path / "model")
    settings = make_settings(init=str(tmp_path / "model"), **shape)
    message = r"too few for a window of context_length=2048 and .* or a smaller context_length\."
    with pytest.raises(ValueError, match=message):
        train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    settings = dataclasses.replace(settings, context_length=8, steps=2)  # as advised
    trained = train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    assert trained.config.context_length == 2048
    assert GPT2LM.from_preset(tmp_path / "run").config.context_length == 2048
    with pytest.raises(ValueError, match=r"^context_length=4096 is more than the 2048 of init="):
        train(
            dataclasses.replace(settings, context_length=4096),
            tmp_path / "other",
            verbose=0,
            model_class=GPT2LM,
        )


def test_too_few_tokens_are_an_error_before_the_directory_is_made(make_settings, tmp_path):
    with pytest.raises(ValueError, match=r"context_length"):
        train(
            make_settings(context_length=100_000), tmp_path / "run", verbose=0, model_class=GPT2LM
        )
    assert not (tmp_path / "run").exists()


def test_only_a_run_directory_can_be_resumed(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no run directory: it has no settings\.json\. Start a"
    ):
        resume(tmp_path, model_class=GPT2LM)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is not JSON: .*Repair the file"):
        resume(tmp_path, model_class=GPT2LM)


@pytest.mark.parametrize("method", ["save", "save_model", "record"])
def test_a_full_disk_keeps_every_file(whole, tmp_path, method):
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
        message = r"run could not be written in step 12: .*resume: step-00000010 is whole"
        with pytest.raises(OSError, match=message):
            getattr(run, method)(*arguments.get(method, (progress,)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert after == before
    assert run.last_whole_checkpoint() == checkpoint
