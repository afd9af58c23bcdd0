"""Runs that learn from a teacher: what they begin with, what they record, how they resume."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.compression import make_student, store_teacher_logits
from gpt2_keras.data import prepare
from gpt2_keras.runs import RunDirectory, resume, train
from gpt2_keras.runs.cost_estimate import estimate_run
from gpt2_keras.runs.mfu import flops_per_token
from gpt2_keras.runs.setup import new_model, open_data
from gpt2_keras.runs.signals import Stopped
from gpt2_keras.runs.student import load_teacher
from tests.models import CORPUS, text_model
from tests.runs.runs import At, assert_same_end

NO_SHAPE = {"num_layers": None, "num_heads": None, "hidden_dim": None, "context_length": None}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A model of three layers with the tokenizer of the shards."""
    path = tmp_path_factory.mktemp("teacher") / "model"
    text_model(num_layers=3, context_length=16).save_to_preset(path)
    return path


@pytest.fixture(scope="module")
def settings_of(make_settings, teacher):
    def make(**changes):
        fields = {**NO_SHAPE, "teacher": str(teacher), "context_length": 8, "batch_size": 2}
        return make_settings(**{**fields, **changes})

    return make


def test_a_student_begins_with_layers_of_its_teacher(settings_of, teacher):
    model = GPT2LM.from_preset(teacher)
    for layers, kept in ((None, [0]), ((0, 2), [0, 2]), (2, [0, 2])):
        settings = settings_of(student_layers=layers)
        _, tokenizer = open_data(settings)
        loaded = load_teacher(GPT2LM, settings, tokenizer)
        student = new_model(GPT2LM, settings, tokenizer, loaded)
        expected = make_student(model, kept)
        for one, other in zip(student.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert student.config.dropout_rate == 0.5  # that of the settings


def test_a_shape_or_a_model_to_start_from_makes_another_student(settings_of, teacher):
    settings = settings_of(num_layers=1, num_heads=2, hidden_dim=8)
    _, tokenizer = open_data(settings)
    loaded = load_teacher(GPT2LM, settings, tokenizer)
    assert new_model(GPT2LM, settings, tokenizer, loaded).config.hidden_dim == 8
    settings = settings_of(init=str(teacher))
    assert new_model(GPT2LM, settings, tokenizer, loaded).config.num_layers == 3


@pytest.fixture(scope="module")
def whole(settings_of, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(settings_of(alpha_cos=0.1), out, verbose=0, model_class=GPT2LM)
    return out


def test_its_history_has_both_losses_and_its_settings_the_teacher(whole, teacher):
    with (whole / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        cross_entropy = float(row["cross_entropy"])
        assert float(row["perplexity"]) == pytest.approx(np.exp(cross_entropy), rel=1e-4)
        assert float(row["loss"]) != cross_entropy
        assert float(row["val_perplexity"]) == pytest.approx(np.exp(float(row["val_loss"])), 1e-4)
        assert float(row["mfu"]) > 0
    settings = json.loads((whole / "settings.json").read_text())
    assert (settings["teacher"], settings["alpha_cos"]) == (str(teacher), 0.1)
    assert GPT2LM.from_preset(whole).config.num_layers == 1


def test_a_run_of_a_plain_model_has_no_such_column(make_settings, tmp_path):
    train(make_settings(steps=2), tmp_path / "run", verbose=0, model_class=GPT2LM)
    assert "cross_entropy" not in (tmp_path / "run" / "history.csv").read_text()


def test_resumed_it_ends_as_if_it_had_never_stopped(settings_of, whole, tmp_path):
    out = tmp_path / "run"
    settings = settings_of(alpha_cos=0.1)
    with pytest.raises(Stopped):
        train(settings, out, verbose=0, callbacks=[At(6, 15)], model_class=GPT2LM)
    assert RunDirectory(out).progress().step == 6
    resume(out, verbose=0, model_class=GPT2LM)
    assert_same_end(out, whole)


def test_stored_logits_of_all_tokens_train_as_the_teacher_does(settings_of, teacher, tmp_path):
    """But for float16, and the context: the teacher's own windows, not those of the run."""
    (tmp_path / "text.txt").write_text("".join(CORPUS) * 4, encoding="utf-8")
    model = GPT2LM.from_preset(teacher)
    shards = prepare([tmp_path / "text.txt"], model.tokenizer, tmp_path / "shards")
    store_teacher_logits(shards, model, top_k=280)
    out = tmp_path / "run"
    settings = settings_of(data=str(tmp_path / "shards"), teacher_logits=True, dropout_rate=0.0)
    with pytest.raises(Stopped):
        train(settings, out, verbose=0, callbacks=[At(6, 15)], model_class=GPT2LM)
    resume(out, verbose=0, model_class=GPT2LM)
    train(
        dataclasses.replace(settings, teacher_logits=False),
        tmp_path / "live",
        verbose=0,
        model_class=GPT2LM,
    )
    stored, live = (RunDirectory(path).progress().history[-1] for path in (out, tmp_path / "live"))
    assert stored["val_loss"] == pytest.approx(live["val_loss"], rel=0.05)
    other = text_model(num_layers=3, seed=1)
    other.save_to_preset(tmp_path / "other")
    changed = dataclasses.replace(settings, teacher=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"those of another teacher than teacher='.*other'"):
        train(changed, tmp_path / "new", verbose=0, model_class=GPT2LM)
    hot = dataclasses.replace(settings, temperature=3.0)
    with pytest.raises(ValueError, match=r"temperature=3\.0 is not 2\.0, for which"):
        train(hot, tmp_path / "new", verbose=0, model_class=GPT2LM)
    assert not (tmp_path / "new").exists()


def test_logits_alone_need_no_teacher(settings_of, teacher, tmp_path):
    (tmp_path / "text.txt").write_text("".join(CORPUS), encoding="utf-8")
    model = GPT2LM.from_preset(teacher)
    shards = prepare([tmp_path / "text.txt"], model.tokenizer, tmp_path / "shards")
    store_teacher_logits(shards, model, top_k=4)
    shape = {"num_layers": 1, "num_heads": 1, "hidden_dim": 8}
    settings = settings_of(
        **shape, data=str(tmp_path / "shards"), teacher=None, teacher_logits=True, steps=2
    )
    trained = train(settings, tmp_path / "run", verbose=0, model_class=GPT2LM)
    assert trained.config.hidden_dim == 8


def test_the_cost_of_a_teacher_is_estimated(settings_of, teacher):
    with_teacher = estimate_run(settings_of(), model_class=GPT2LM)
    config = GPT2LM.from_preset(teacher).config
    windows = dataclasses.replace(config, context_length=8)
    student = dataclasses.replace(windows, num_layers=1)
    assert with_teacher.memory["teacher"] == 4 * config.num_parameters
    assert with_teacher.flops_per_token == flops_per_token(student) + flops_per_token(windows) // 3
    student = make_student(GPT2LM.from_preset(teacher), 1)
    assert with_teacher.num_parameters == student.count_params()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teacher": None, "student_layers": (0,)},
            "student_layers=(0,) names layers of a teacher",
        ),
        ({"student_layers": 1, "num_layers": 2}, "and needs no num_layers beside it"),
        ({"student_layers": 1, "init": "run"}, "and needs no init beside it"),
        ({"teacher": None, "alpha_ce": 0.9}, "alpha_ce=0.9 is without effect, as there is no"),
        ({"alpha_ce": 0.0, "alpha_clm": 0.0}, "leave no loss"),
        ({"teacher_logits": True, "alpha_cos": 0.5}, "alpha_cos=0.5 compares hidden states"),
        ({"teacher_logits": True, "task": "chat"}, "task='chat' has no token shards"),
        ({"task": "classify", "init": "run"}, "task='classify' learns labels"),
        ({"student_layers": (-1,)}, "student_layers[0]=-1 is less than 0"),
        ({"student_layers": 0}, "student_layers=0 is less than 1"),
    ],
)
def test_settings_that_do_not_fit_together(settings_of, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        settings_of(**changes)


def test_a_teacher_that_is_not_there_has_another_tokenizer_or_fewer_layers(
    settings_of, make_settings, tmp_path
):
    def attempt(**changes):
        train(settings_of(**changes), tmp_path / "run", verbose=0, model_class=GPT2LM)

    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*missing"):
        attempt(teacher=str(tmp_path / "missing"))
    with pytest.raises(ValueError, match="layers=4 is greater than 3"):
        attempt(student_layers=4)
    with pytest.raises(FileNotFoundError, match="no teacher's logits were stored"):
        attempt(teacher_logits=True)
    other = text_model()
    other.tokenizer = (
        type(other.tokenizer)
        .train(["xyz" * 50], 257)
        .with_special_tokens([f"<{number}>" for number in range(23)])
    )
    other.save_to_preset(tmp_path / "other")
    with pytest.raises(ValueError, match=r"teacher='.*other' has another tokenizer, with a voc"):
        attempt(teacher=str(tmp_path / "other"))
    assert not (tmp_path / "run").exists()
