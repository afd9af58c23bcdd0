"""What settings are refused, and their way through a file."""

import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.runs import TrainingSettings


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"steps": 0}, ValueError, r"`steps` must be at least 1\. Received: steps=0"),
        ({"steps": 2.0}, TypeError, r"`steps` must be an integer\. Received: steps=2\.0"),
        ({"steps": None}, TypeError, r"`steps` must be an integer\. Received: steps=None"),
        ({"batch_size": 0}, ValueError, r"batch_size=0"),
        ({"seed": -1}, ValueError, r"`seed` must be at least 0\. Received: seed=-1"),
        ({"data": 3}, TypeError, r"`data` must be a string\. Received: data=3"),
        ({"learning_rate": 0.0}, ValueError, r"`learning_rate` must be above 0 .*=0\.0"),
        ({"learning_rate": "1"}, TypeError, r"must be a number\. Received: learning_rate='1'"),
        ({"validation_fraction": 1.0}, ValueError, r"above 0 and below 1.*=1\.0"),
        ({"weight_decay": -0.5}, ValueError, r"at least 0 .*weight_decay=-0\.5"),
        ({"dtype": "half"}, ValueError, r"float32, mixed_bfloat16, mixed_float16.*dtype='half'"),
        ({"warmup_steps": 9, "steps": 9}, ValueError, r"warmup_steps=9, steps=9"),
        ({"checkpoint_every": 0}, ValueError, r"`checkpoint_every` must be at least 1.*every=0"),
        ({"checkpoint_minutes": -1}, ValueError, r"at least 0 .*checkpoint_minutes=-1"),
        ({"keep_checkpoints": 0}, ValueError, r"must be at least 1.*keep_checkpoints=0"),
        ({"sample_prompts": "a"}, TypeError, r"several strings\. Received: sample_prompts='a'"),
        ({"sample_prompts": [3]}, TypeError, r"sample_prompts=\(3,\)"),
        ({"peak_flops": 0.0}, ValueError, r"`peak_flops` must be above 0.*peak_flops=0\.0"),
        ({"ema": 1.0}, ValueError, r"`ema` must be above 0 and below 1.*ema=1\.0"),
        ({"beta_2": 1.0}, ValueError, r"`beta_2` must be at least 0 and below 1.*beta_2=1\.0"),
        ({"clip_norm": -1.0}, ValueError, r"`clip_norm` must be at least 0.*clip_norm=-1\.0"),
        (
            {"final_learning_rate_ratio": 2},
            ValueError,
            r"must be at least 0 and below 1.*final_learning_rate_ratio=2",
        ),
        ({"schedule": "step"}, ValueError, r"cosine, linear, constant.*schedule='step'"),
        (
            {"size": "gpt2", "num_heads": 2},
            ValueError,
            r"`size` decides the shape.*size='gpt2' and num_heads=2",
        ),
        (
            {"init": "m", "size": "gpt2", "context_length": 8},
            ValueError,
            r"`init` decides.*init='m' and size='gpt2', context_length=8",
        ),
    ],
)
def test_what_does_not_fit_is_refused(fields, error, message):
    with pytest.raises(error, match=message):
        TrainingSettings(**{"data": "shards", "tokenizer": "tokenizer", **fields})


def test_json_gives_the_same_settings_back():
    settings = TrainingSettings("a", "b", num_layers=2, learning_rate=1e-4, sample_prompts=["c"])
    assert settings.sample_prompts == ("c",)
    assert TrainingSettings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("text", ["[]", "{}", '{"data": "a", "tokenizer": "b", "lr": 1}'])
def test_json_of_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r"JSON object of `data`, `tokenizer`.*Received"):
        TrainingSettings.from_json(text)


def test_a_size_or_numbers_give_the_shape():
    sized = TrainingSettings("a", "b", size="gpt2", context_length=64, dropout_rate=0.0)
    expected = GPT2Config.gpt2(vocab_size=300, context_length=64, dropout_rate=0.0)
    assert sized.model_config(300) == expected
    numbered = TrainingSettings("a", "b", num_layers=1, hidden_dim=8).model_config(300)
    assert (numbered.num_layers, numbered.num_heads, numbered.hidden_dim) == (1, 4, 8)


def test_evaluations_are_ten_by_default():
    assert TrainingSettings("a", "b", steps=200).with_defaults().evaluate_every == 20
    assert TrainingSettings("a", "b", steps=3).with_defaults().evaluate_every == 1


def test_only_a_constant_schedule_can_be_extended():
    settings = TrainingSettings("a", "b", steps=10, schedule="constant")
    assert settings.extended(20).steps == 20
    with pytest.raises(ValueError, match=r"not shortened\. Received: steps=9, after steps=10\."):
        settings.extended(9)
    cosine = TrainingSettings("a", "b", steps=10)
    assert cosine.extended(10) == cosine
    with pytest.raises(ValueError, match=r"steps=20, after .*schedule='cosine'.*--init"):
        cosine.extended(20)
