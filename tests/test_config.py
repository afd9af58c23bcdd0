import dataclasses

import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.config import SIZES


@pytest.mark.parametrize(
    ("name", "parameters"),
    # Counted from the weights that OpenAI published.
    [
        ("gpt2", 124_439_808),
        ("gpt2_medium", 354_823_168),
        ("gpt2_large", 774_030_080),
        ("gpt2_xl", 1_557_611_200),
    ],
)
def test_each_published_size_has_its_published_number_of_parameters(name, parameters):
    assert GPT2Config.from_size(name).num_parameters == parameters
    assert getattr(GPT2Config, name)() == GPT2Config.from_size(name.replace("_", "-"))


def test_json_round_trip_is_the_identity():
    config = GPT2Config(num_layers=3, hidden_dim=10, num_heads=5, position_embedding="sinusoidal")
    assert GPT2Config.from_json(config.to_json()) == config


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPT2Config().num_layers = 3


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"num_heads": 5}, ValueError, r"num_heads=5, hidden_dim=768.*num_heads=1"),
        ({"num_layers": 0}, ValueError, r"`num_layers` must be at least 1. Received: num_layers=0"),
        ({"vocab_size": 1.5}, TypeError, r"`vocab_size` must be an integer.*vocab_size=1.5"),
        ({"hidden_dim": "x"}, TypeError, r"`hidden_dim` must be an integer.*hidden_dim='x'"),
        ({"context_length": True}, TypeError, r"context_length=True"),
        ({"dropout_rate": 1.0}, ValueError, r"below 1. Received: dropout_rate=1.0"),
        ({"dropout_rate": "a"}, TypeError, r"must be a number. Received: dropout_rate='a'"),
        ({"position_embedding": "rotary"}, ValueError, r"learned, sinusoidal.*'rotary'"),
        (
            {"position_embedding": "sinusoidal", "hidden_dim": 3, "num_heads": 1},
            ValueError,
            r"even `hidden_dim`. Received: hidden_dim=3. Use 4",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        GPT2Config(**fields)


def test_an_unknown_size_is_refused_with_the_list_of_sizes():
    with pytest.raises(ValueError, match=rf"{', '.join(SIZES)}. Received: 'gpt3'"):
        GPT2Config.from_size("gpt3")


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match=r"has the fields vocab_size.*Received: depth"):
        GPT2Config.from_dict({"depth": 3})


def test_json_that_is_no_object_is_refused():
    with pytest.raises(ValueError, match=r"is a JSON object. Received: list"):
        GPT2Config.from_json("[]")
