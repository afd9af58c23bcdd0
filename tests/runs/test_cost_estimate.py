"""The cost estimate of a run, against the model that it would train."""

import json

import keras
import pytest

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.data import TokenShards
from gpt2_keras.runs import cost_estimate
from gpt2_keras.runs.cost_estimate import estimate_memory, estimate_run
from gpt2_keras.runs.mfu import flops_per_token
from gpt2_keras.training import make_optimizer
from tests.models import TINY


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_parameters_are_those_of_the_model(positions):
    config = GPT2Config(**{**TINY.to_dict(), "position_embedding": positions})
    model = GPT2LM(config)
    parts = dict.fromkeys(config.parameters_by_part(), 0)
    for weight in model.trainable_variables:
        (part,) = [
            part
            for part, sign in (
                ("token embeddings", "token_embedding/"),
                ("positions", "position_embedding/"),
                ("norms", "norm/"),
                ("attention", "/attention/"),
                ("feed-forward", "/feed_forward/"),
            )
            if sign in weight.path
        ]
        parts[part] += weight.size if hasattr(weight, "size") else int(keras.ops.size(weight))
    assert config.parameters_by_part() == parts
    assert sum(parts.values()) == config.num_parameters


def test_weights_and_moments_take_what_the_variables_take():
    model = GPT2LM(TINY)
    optimizer = make_optimizer(ema=0.9)
    optimizer.build(model.trainable_variables)
    memory = estimate_memory(TINY, 4, "float32", ema=True)
    own = 4 * TINY.num_parameters
    assert memory["weights"] == memory["gradients"] == memory["averages"] == own
    state = sum(int(keras.ops.size(variable)) * 4 for variable in optimizer.variables)
    assert state == pytest.approx(memory["moments"] + memory["averages"], abs=100)  # the counters


def test_activations_are_those_of_the_published_formula():
    config = GPT2Config.gpt2()
    tokens, width, heads, time = 8 * 1024, 768, 12, 1024
    published = 12 * tokens * width * (34 + 5 * heads * time / width)  # bytes, in 16 bits
    assert estimate_memory(config, 8, "mixed_bfloat16")["activations"] == published
    assert estimate_memory(config, 8, "float32")["activations"] == 2 * published
    assert estimate_memory(config, 8, "mixed_float16")["copies in 16 bits"] == 2 * 124439808
    assert estimate_memory(config, 8, "float32")["copies in 16 bits"] == 0


def test_micro_batches_and_rematerialization_keep_less():
    config = GPT2Config.gpt2()
    whole = estimate_memory(config, 8, "float32")
    micro = estimate_memory(config, 8, "float32", accumulation_steps=4)
    assert micro["activations"] == whole["activations"] / 4
    assert micro["gradients"] == 2 * whole["gradients"]
    remat = estimate_memory(config, 8, "float32", remat=True)
    inputs = 12 * 8 * 1024 * 768 * 4
    assert remat["activations"] == whole["activations"] / 12 + inputs
    products = estimate_memory(config, 8, "float32", remat="products")
    assert products["activations"] == whole["activations"] / 12 + 9 * inputs


def test_logits_are_held_one_chunk_of_rows_at_a_time():
    small, large = (estimate_memory(TINY, batch, "float32")["logits"] for batch in (1, 10**6))
    assert small == 3 * 4 * TINY.context_length * TINY.vocab_size
    rows = 64 * 2**20 // (4 * TINY.vocab_size)
    assert large == 3 * 4 * rows * TINY.vocab_size


def test_a_short_run_is_timed_by_real_steps(make_settings):
    settings = make_settings(steps=10, ema=0.9)
    found = estimate_run(settings, model_class=GPT2LM)
    assert found.tokens_per_step == 4 * 8
    assert found.tokens == 320
    train, validation = TokenShards.open(settings.data).split(0.1)
    assert found.training_tokens == len(train)
    assert found.epochs == 320 / len(train)
    assert found.evaluation_batches == 3 * min(5, len(validation) // 32)  # after 4, 8 and 10 steps
    assert found.timing == "that of 2 real steps on this machine"
    assert 0 < found.seconds_per_step < 10
    seconds = found.seconds_per_step * (10 + found.evaluation_batches / 3)
    assert found.seconds == pytest.approx(seconds)
    assert found.memory["averages"] == 4 * found.num_parameters
    assert json.loads(json.dumps(found.to_dict()))["tokens"] == 320


def test_a_long_run_is_estimated_by_its_flops(make_settings, monkeypatch):
    monkeypatch.setattr(cost_estimate, "LONGEST_TIMING_SECONDS", 0.0)
    found = estimate_run(make_settings(peak_flops=1e9), model_class=GPT2LM)
    config = make_settings().model_config(280)
    flops = flops_per_token(config) * 32
    assert found.flops_per_step == flops
    assert found.seconds_per_step == pytest.approx(flops / 1e9)
    assert found.mfu == pytest.approx(1.0)
    assert found.timing == "the full one of the hardware; a real run takes longer"
