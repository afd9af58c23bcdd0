import dataclasses
import math
import re

import numpy as np
import pytest

from gpt2_keras import GPT2LM, GPT2Config
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


@pytest.mark.parametrize("position_embedding", ["learned", "sinusoidal"])
def test_the_parts_have_the_parameters_of_a_built_model(position_embedding):
    config = GPT2Config(
        vocab_size=11,
        context_length=5,
        num_layers=2,
        num_heads=2,
        hidden_dim=6,
        intermediate_dim=7,
        position_embedding=position_embedding,
    )
    model = GPT2LM(config)
    sizes = {
        "token embeddings": model.token_embedding.count_params(),
        "positions": len(model.position_embedding.trainable_variables) * 5 * 6,
        "attention": sum(block.attention.count_params() for block in model.decoder.blocks),
        "feed-forward": sum(block.feed_forward.count_params() for block in model.decoder.blocks),
    }
    sizes["norms"] = config.num_parameters - sum(sizes.values())
    assert config.parameters_by_part() == sizes
    trained = [variable.shape for variable in model.trainable_variables]
    assert config.num_parameters == sum(math.prod(shape) for shape in trained)


def test_numpy_integers_become_pythons_and_are_written_as_json():
    config = GPT2Config(num_layers=np.int64(3), dropout_rate=np.float32(0.5))
    assert type(config.num_layers) is int
    assert GPT2Config.from_json(config.to_json()) == config


COUNTS = (
    "vocab_size",
    "context_length",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "intermediate_dim",
)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, r"=0 is less than 1\. Use an integer of at least 1\."),
        (-2, ValueError, r"=-2 is less than 1\. Use an integer of at least 1\."),
        (1.5, TypeError, r"=1\.5 is a float\. Use an integer of at least 1\."),
        (float("nan"), TypeError, r"=nan is a float\. Use an integer of at least 1\."),
        ("x", TypeError, r"='x' is a str\. Use an integer of at least 1\."),
        (True, TypeError, r"=True is a bool\. Use an integer of at least 1\."),
    ],
)
def test_a_count_that_is_no_positive_integer_is_an_error(name, value, error, message):
    with pytest.raises(error, match=f"^{name}{message}$"):
        GPT2Config(**{name: value})


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (
            {"num_heads": 5},
            ValueError,
            "num_heads=5 does not divide hidden_dim=768. Use, for example, num_heads=1.",
        ),
        ({"hidden_dim": None}, TypeError, "hidden_dim is None. Use an integer of at least 1."),
        (
            {"dropout_rate": 1.0},
            ValueError,
            "dropout_rate=1.0 is not below 1. Use a number at least 0 and below 1. "
            "0.0 is no dropout.",
        ),
        ({"dropout_rate": -0.1}, ValueError, "dropout_rate=-0.1 is not at least 0."),
        ({"dropout_rate": float("nan")}, ValueError, "dropout_rate=nan is not finite."),
        ({"dropout_rate": True}, TypeError, "dropout_rate=True is a bool."),
        ({"dropout_rate": "a"}, TypeError, "dropout_rate='a' is a str. Use a number"),
        (
            {"position_embedding": "rotary"},
            ValueError,
            "position_embedding='rotary' is unknown. Use one of 'learned', 'sinusoidal'. "
            "GPT-2 itself has 'learned'.",
        ),
        ({"position_embedding": None}, TypeError, "position_embedding is None."),
        (
            {"position_embedding": "sinusoidal", "hidden_dim": 9, "num_heads": 3},
            ValueError,
            "hidden_dim=9 is odd, and sinusoidal positions come in pairs of a sine and a cosine. "
            "Use, for example, hidden_dim=12.",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_an_error(fields, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        GPT2Config(**fields)


def test_an_unknown_size_is_an_error_that_lists_the_sizes():
    sizes = ", ".join(map(repr, SIZES))
    with pytest.raises(ValueError, match=f"^name='gpt3' is unknown. Use one of {sizes}."):
        GPT2Config.from_size("gpt3")
    with pytest.raises(TypeError, match=r"^name=3 is an int\. Use a str\."):
        GPT2Config.from_size(3)


def test_an_unknown_field_is_an_error_that_lists_the_fields():
    message = "^depth is no field of GPT2Config. Remove it; the fields are vocab_size, context"
    with pytest.raises(ValueError, match=message):
        GPT2Config.from_dict({"depth": 3})


def test_json_that_is_no_object_is_an_error():
    with pytest.raises(ValueError, match=r"^The JSON text holds a list, .* `to_json` returns.$"):
        GPT2Config.from_json("[]")
