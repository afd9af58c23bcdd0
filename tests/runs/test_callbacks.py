"""The callbacks of a run: speed, learning rate, TensorBoard, samples."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpt2_keras.runs.callbacks import LearningRate, StepTensorBoard, TokensPerSecond
from gpt2_keras.runs.samples import GenerateSamples
from tests.models import text_model


class Clock:
    """A clock that advances by a second with each call."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def logs_of_batches(callback, batches):
    callback.on_epoch_begin(0)
    found = []
    for batch in batches:
        logs = {}
        callback.on_train_batch_end(batch, logs)
        found.append(logs)
    logs = {}
    callback.on_epoch_end(0, logs)
    return [*found, logs]


def test_speed_and_utilization_leave_out_the_first_batch(monkeypatch):
    monkeypatch.setattr("gpt2_keras.runs.callbacks.time.perf_counter", Clock())
    figures = logs_of_batches(TokensPerSecond(100, 6.0, 3000.0), range(3))
    once = {"tokens_per_second": 100, "mfu": pytest.approx(0.2)}  # 100 × 6 / 3000
    assert figures == [{}, once, once, once]


def test_speed_counts_steps_and_not_calls(monkeypatch):
    """With `steps_per_execution` Keras calls after every few steps."""
    monkeypatch.setattr("gpt2_keras.runs.callbacks.time.perf_counter", Clock())
    figures = logs_of_batches(TokensPerSecond(100), [3, 7, 11])
    assert figures[1:] == [{"tokens_per_second": 400}] * 3


def test_the_learning_rate_is_in_the_logs_of_batch_and_epoch():
    model = text_model()
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    callback = LearningRate()
    callback.set_model(model)
    assert logs_of_batches(callback, [0]) == [{"learning_rate": 0.25}] * 2


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """What TensorBoard reads of two epochs of a run that was resumed after step 5."""
    folder = tmp_path_factory.mktemp("logs")
    callback = StepTensorBoard(str(folder), {1: 8, 2: 12}, first_step=5, every=2)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, batches in ((1, range(3)), (2, range(1, 4, 2))):
        for batch in batches:
            callback.on_train_batch_end(batch, {"loss": float(batch), "gradient_norm": 2.0})
        callback.on_epoch_end(epoch, {"loss": 3.0, "val_loss": 4.0})
    callback.write_text("samples", "one\n\n  two", step=12)
    callback.on_train_end()
    accumulator = EventAccumulator(str(folder / "train"))
    accumulator.Reload()
    return accumulator


def values(events, tag):
    return {
        event.step: np.ravel(tf.make_ndarray(event.tensor_proto)).tolist()
        for event in events.Tensors(tag)
    }


def test_tensorboard_has_steps_on_its_axis(events):
    assert values(events, "epoch_loss") == {8: [3.0], 12: [3.0]}
    assert values(events, "batch_loss") == {6: [0.0], 8: [2.0], 10: [1.0], 12: [3.0]}
    assert values(events, "batch_gradient_norm") == {step: [2.0] for step in (6, 8, 10, 12)}


def test_tensorboard_shows_texts_verbatim(events):
    assert values(events, "samples") == {12: [b"    one\n    \n      two"]}


@pytest.fixture(scope="module")
def model():
    return text_model(num_layers=1)


def test_samples_continue_each_prompt_greedily_and_by_seeded_sampling(model, tmp_path, capsys):
    path = tmp_path / "samples.txt"
    prompts = ["the cat", "step 3\nand so on, a prompt longer than the context " * 3]
    callback = GenerateSamples(prompts, path, {0: 5, 1: 10, 2: 15}, seed=3, verbose=True)
    callback.set_model(model)
    callback.on_epoch_end(0)
    callback.on_epoch_end(1)
    both = path.read_text(encoding="utf-8")
    how = {"sampler": "top_k", "temperature": 0.8, "seed": 3}
    greedy = model.generate(prompts, on_overflow="truncate")
    sampled = model.generate(prompts, on_overflow="truncate", **how)
    pairs = zip(greedy, sampled, strict=True)
    text = "\n\n".join(f"greedy:\n{one}\n\nsampled:\n{other}" for one, other in pairs)
    entry = "\n".join("  " + line for line in text.split("\n"))
    assert both == f"step 5\n{entry}\nstep 10\n{entry}\n"
    assert capsys.readouterr().err == f"\nstep 5\n{entry}\n\nstep 10\n{entry}\n"
    # A run resumed from an earlier step replaces the entries of the steps it repeats.
    callback.on_epoch_end(1)
    assert path.read_text(encoding="utf-8") == both
    callback.on_epoch_end(0)
    assert path.read_text(encoding="utf-8") == f"step 5\n{entry}\n"


def test_samples_need_one_process_on_jax(monkeypatch, tmp_path):
    jax = pytest.importorskip("jax")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    GenerateSamples(["a"], tmp_path / "samples.txt", {})
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(
        ValueError, match=r"sample_prompts=\['a'\] are continued by one process, and 2 train"
    ):
        GenerateSamples(["a"], tmp_path / "samples.txt", {})
