"""Training settings: their checks, their defaults, and their JSON."""

import dataclasses
import re

import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.runs import TrainingSettings

COUNTS = ["num_layers", "num_heads", "hidden_dim", "context_length", "steps", "batch_size"]
COUNTS += ["evaluate_every", "evaluation_batches", "checkpoint_every", "keep_checkpoints"]
COUNTS += ["accumulation_steps", "model_parallel"]
COUNTS_OR_0 = ["warmup_steps", "seed", "patience"]
POSITIVE = ["learning_rate", "peak_flops", "temperature"]
NOT_NEGATIVE = ["weight_decay", "clip_norm", "checkpoint_minutes"]
NOT_NEGATIVE += ["alpha_ce", "alpha_clm", "alpha_cos"]
FRACTIONS = ["ema", "validation_fraction"]
FRACTIONS_OR_0 = ["dropout_rate", "final_learning_rate_ratio", "beta_2"]
NUMBERS = [*POSITIVE, *NOT_NEGATIVE, *FRACTIONS, *FRACTIONS_OR_0]
FLAGS = ["remat", "document_masking", "jit_compile", "teacher_logits"]
CHOICES = ["size", "task", "schedule", "strategy", "dtype"]
TEXTS = ["data", "tokenizer", "init", "teacher", "sample_prompts"]
LAYERS = ["student_layers"]


def settings(**fields):
    return TrainingSettings(**{"data": "shards", "tokenizer": "tokenizer", **fields})


def test_every_setting_is_in_one_of_the_lists():
    names = [*COUNTS, *COUNTS_OR_0, *NUMBERS, *FLAGS, *CHOICES, *TEXTS, *LAYERS]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(TrainingSettings))


@pytest.mark.parametrize("name", [*COUNTS, *COUNTS_OR_0])
@pytest.mark.parametrize("value", [True, 2.0, "2", float("nan")])
def test_a_setting_that_counts_is_an_integer(name, value):
    message = rf"{name}={value!r} is an? (bool|float|str)\. Use an integer"
    with pytest.raises(TypeError, match=message):
        settings(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [True, "0.5", [0.5]])
def test_a_rate_or_a_fraction_is_a_number(name, value):
    message = rf"{name}={re.escape(repr(value))} is a (bool|str|list)\. Use a number"
    with pytest.raises(TypeError, match=message):
        settings(**{name: value})


@pytest.mark.parametrize(
    ("names", "value", "message"),
    [
        (COUNTS, 0, "=0 is less than 1. Use an integer of at least 1."),
        (COUNTS_OR_0, -1, "=-1 is less than 0. Use an integer"),
        (["seed"], 2**31, "=2147483648 is greater than 2147483647. Use an integer from 0 to"),
        (NUMBERS, float("nan"), "=nan is not finite. Use a number"),
        (NUMBERS, float("inf"), "=inf is not finite. Use a number"),
        (NUMBERS, -0.5, "=-0.5 is not "),
        ([*POSITIVE, *FRACTIONS], 0.0, "=0.0 is not above 0. Use a number above 0"),
        ([*FRACTIONS, *FRACTIONS_OR_0], 1.0, "=1.0 is not below 1. Use a number"),
    ],
)
def test_a_number_out_of_its_range_is_an_error(names, value, message):
    for name in names:
        with pytest.raises(ValueError, match=re.escape(name + message)):
            settings(**{name: value})


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [1, "yes"])
def test_a_switch_is_a_bool(name, value):
    with pytest.raises(TypeError, match=rf"{name}={value!r} is an? .*\. Use True or False"):
        settings(**{name: value})


@pytest.mark.parametrize("name", [*CHOICES, *TEXTS])
def test_a_text_is_a_str(name):
    with pytest.raises(TypeError, match=rf"{name}=3 is an int\. Use (a str|one of)"):
        settings(**{name: 3})


def test_a_prompt_that_is_no_str_is_an_error():
    with pytest.raises(TypeError, match=r"sample_prompts\[1\]=3 is an int\. Use a str"):
        settings(sample_prompts=["a", 3])


@pytest.mark.parametrize("name", ["data", "tokenizer", "steps", "remat", "schedule"])
def test_a_setting_with_a_value_of_its_own_is_never_none(name):
    with pytest.raises(TypeError, match=rf"{name} is None\. Use "):
        settings(**{name: None})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": "gpt3"}, "size='gpt3' is unknown. Use one of 'gpt2', 'gpt2_medium'"),
        ({"schedule": "step"}, "schedule='step' is unknown. Use one of 'cosine', 'linear'"),
        ({"strategy": "ring"}, "strategy='ring' is unknown. Use one of 'auto', 'none'"),
        ({"dtype": "half"}, "dtype='half' is unknown. Use one of 'float32', 'mixed_bfloat16'"),
        ({"num_heads": 5}, "num_heads=5 does not divide hidden_dim=256. Use, for example, num_"),
        ({"warmup_steps": 9, "steps": 9}, "warmup_steps=9 is not less than steps=9. Leave it out"),
        (
            {"size": "gpt2", "num_heads": 2},
            "size='gpt2' decides the shape of the model, and num_heads=2 would change it. Leave",
        ),
        (
            {"init": "m", "size": "gpt2", "num_layers": 8},
            "init='m' decides the shape of the model, and size='gpt2', num_layers=8 would",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_an_error(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        settings(**fields)


def test_numbers_of_numpy_become_those_of_python():
    numbers = settings(steps=np.int64(5), learning_rate=np.float32(0.5))
    assert (type(numbers.steps), type(numbers.learning_rate)) == (int, float)
    assert TrainingSettings.from_json(numbers.to_json()) == numbers


def test_json_gives_the_same_settings_back():
    original = settings(num_layers=2, learning_rate=1e-4, sample_prompts=["c"], size=None)
    assert original.sample_prompts == ("c",)
    assert TrainingSettings.from_json(original.to_json()) == original


def test_one_prompt_is_a_list_of_one():
    assert settings(sample_prompts="the cat").sample_prompts == ("the cat",)
    assert settings().sample_prompts == settings(sample_prompts=[]).sample_prompts == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "The JSON text holds a list, and training settings are an object. Use the text"),
        ("{}", "data is missing, tokenizer is missing among the training settings. Use the text"),
        (
            '{"data": "a", "tokenizer": "b", "lr": 1}',
            "lr is unknown among the training settings. Use the text that `to_json` returns; the "
            "settings are data, tokenizer, task, teacher",
        ),
    ],
)
def test_json_of_something_else_is_an_error(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainingSettings.from_json(text)


def test_a_size_or_numbers_give_the_shape():
    assert settings(size="gpt2-medium").size == "gpt2_medium"
    sized = settings(size="gpt2", context_length=64, dropout_rate=0.0)
    expected = GPT2Config.gpt2(vocab_size=300, context_length=64, dropout_rate=0.0)
    assert sized.model_config(300) == expected
    numbered = settings(num_layers=1, hidden_dim=8).model_config(300)
    assert (numbered.num_layers, numbered.num_heads, numbered.hidden_dim) == (1, 4, 8)


def test_evaluations_are_ten_by_default():
    assert settings(steps=200).with_defaults().evaluate_every == 20
    assert settings(steps=3).with_defaults().evaluate_every == 1


def test_only_a_constant_schedule_can_be_extended():
    constant = settings(steps=10, schedule="constant")
    assert constant.extended(20).steps == 20
    message = r"steps=9 is less than steps=10, .*not shortened\. Use 10 or more\."
    with pytest.raises(ValueError, match=message):
        constant.extended(9)
    with pytest.raises(TypeError, match=r"steps=20\.0 is a float\. Use an integer"):
        constant.extended(20.0)
    cosine = settings(steps=10)
    assert cosine.extended(10) == cosine
    message = r"steps=20 extends a run of steps=10 with schedule='cosine', .*--init"
    with pytest.raises(ValueError, match=message):
        cosine.extended(20)
