"""A batch that does not fit: which one would."""

import dataclasses
import re

import keras
import pytest
import tensorflow as tf

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.devices import current_device
from gpt2_keras.runs import TrainingSettings, memory_errors, train
from gpt2_keras.runs.cost_estimate import estimate_memory
from gpt2_keras.runs.memory_errors import advice, is_out_of_memory
from tests.runs.runs import At

GPT2 = GPT2Config.gpt2()
H100 = 80_000_000_000


def settings(**fields):
    fields = {"data": "shards", "tokenizer": "tokenizer", "dtype": "mixed_bfloat16"} | fields
    return TrainingSettings(**fields)


def total(batch_size, **options):
    return sum(estimate_memory(GPT2, batch_size, "mixed_bfloat16", **options).values())


def advised(text):
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", text.split(". ")[-1])}


@pytest.mark.parametrize("batch_size", [64, 100, 512])
def test_the_batch_that_is_advised_fits_by_the_estimate(batch_size):
    text = advice(settings(batch_size=batch_size), GPT2, 1, H100)
    values = advised(text)
    needed = f"{total(batch_size) / 1e9:.1f} GB at least of the 80.0 GB that it may use"
    assert text.startswith(
        f"batch_size={batch_size} does not fit into the memory of {current_device()}: it needs "
        f"{needed}."
    )
    assert total(values["batch_size"]) < 0.7 * H100
    assert values["batch_size"] < batch_size
    # The same steps, in micro-batches of no more rows.
    assert -(-batch_size // values["accumulation_steps"]) <= values["batch_size"]


def test_devices_share_the_batch_that_is_advised():
    values = advised(advice(settings(batch_size=200), GPT2, 8, H100))
    assert values["batch_size"] % 8 == 0
    assert total(values["batch_size"] // 8) < 0.7 * H100


def test_a_limit_that_is_not_known_halves_the_batch():
    assert advised(advice(settings(batch_size=12), GPT2, 1, None))["batch_size"] == 6


def test_rematerialization_is_advised_where_it_is_not_used():
    assert advice(settings(), GPT2, 1, None).endswith("the same steps, or remat=True.")
    assert advice(settings(remat=True), GPT2, 1, None).endswith("takes the same steps.")


def test_a_model_that_does_not_fit_with_any_batch():
    text = advice(settings(), GPT2, 1, 10**9)
    assert text.endswith("No batch fits. Use a smaller model or shorter windows, or remat=True.")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes"), True),
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), True),
        (MemoryError(), True),
        (RuntimeError("INTERNAL: something else"), False),
        (ValueError("loss=nan is not finite"), False),
    ],
)
def test_what_says_that_memory_is_full(error, expected):
    assert is_out_of_memory(error) == expected


def test_a_run_that_is_out_of_memory_says_what_to_do(make_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(memory_errors, "memory_limit", lambda: None)
    full = At(1, tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    options = {"verbose": 0, "model_class": GPT2LM}
    with pytest.raises(
        RuntimeError, match=r"^batch_size=4 does not fit .*Use batch_size=2"
    ) as error:
        train(make_settings(), tmp_path / "run", callbacks=[full], **options)
    assert isinstance(error.value.__cause__, tf.errors.ResourceExhaustedError)
    for name, value in advised(str(error.value)).items():
        changed = dataclasses.replace(make_settings(steps=2), **{name: value})
        assert train(changed, tmp_path / name, **options)


def test_another_error_of_a_run_stays_as_it_is(make_settings, tmp_path):
    class Own(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        train(make_settings(), tmp_path / "run", verbose=0, model_class=GPT2LM, callbacks=[Own()])
