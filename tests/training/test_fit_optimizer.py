"""The default optimizer's schedule, `fit` after `fit` and with Keras' own callbacks."""

import keras
import numpy as np
import pytest

from gpt2_keras.training import FitAdamW, make_schedule
from tests.models import random_ids, random_model


class Rates(keras.callbacks.Callback):
    """Collects the rate of each step."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(rate(self.model))


def rate(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def fit(model, *callbacks, epochs=1, **arguments):
    """Returns the rates of the steps, four an epoch."""
    ids, rates = random_ids((8, 9)), Rates()
    model.fit(
        ids[:, :-1],
        ids[:, 1:],
        batch_size=2,
        epochs=epochs,
        verbose=0,
        callbacks=[*callbacks, rates],
        **arguments,
    )
    return rates.rates


@pytest.fixture
def model():
    model = random_model()
    model.compile(jit_compile=False)
    return model


@pytest.mark.parametrize(("total", "steps"), [(40, range(42)), (1, range(3)), (3, range(4))])
def test_the_rates_are_those_of_make_schedule(total, steps):
    optimizer, schedule = FitAdamW(1e-3), make_schedule(1e-3, total)
    optimizer.start_schedule(total)
    for step in steps:
        optimizer.iterations.assign(step)
        # A few float32 operations on numbers of at most 1, in another order.
        expected = float(schedule(step))
        assert float(optimizer.learning_rate) == pytest.approx(expected, rel=1e-6)


def test_the_rate_is_constant_while_the_number_of_steps_is_unknown():
    optimizer = FitAdamW(1e-3)
    for start in (lambda: None, lambda: optimizer.start_schedule(None)):
        start()
        assert float(optimizer.learning_rate) == pytest.approx(1e-3)


def test_a_fit_ends_at_a_tenth_of_the_rate_and_the_next_starts_again(model):
    first, second = fit(model, epochs=2), fit(model, epochs=2)
    assert rate(model) == pytest.approx(6e-5)
    assert first == second
    assert first[0] == pytest.approx(6e-4)


def test_the_steps_themselves_follow_the_schedule_of_each_fit(model):
    """The rate that a callback reads could be another than that of the traced step."""
    twin = random_model()
    twin.compile(optimizer=FitAdamW(weight_decay=0.0, beta_1=0.0, beta_2=0.0), jit_compile=False)
    table = twin.token_embedding.embeddings
    changes = []

    class Changes(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = keras.ops.convert_to_numpy(table).copy()

        def on_train_batch_end(self, batch, logs=None):
            change = np.abs(keras.ops.convert_to_numpy(table) - self.before)
            changes.append(np.median(change))

    rates = fit(twin, Changes()) + fit(twin, Changes())
    # Without moments an update is the rate times the sign of the gradient, but for the few whose
    # square is lost in the rounding of the last. A weight below 1 rounds by at most 2^-24.
    np.testing.assert_allclose(changes, rates, rtol=1e-2, atol=2.0**-23)


def test_reduce_lr_on_plateau_lowers_the_rate(model):
    ids = random_ids((8, 9))
    callback = keras.callbacks.ReduceLROnPlateau(patience=1, min_delta=9.0, factor=0.5)
    validation = (ids[:, :-1], ids[:, 1:])
    rates = fit(model, callback, epochs=4, validation_data=validation)
    assert len(set(rates[:8])) == 8  # the schedule
    assert len(set(rates[8:12])) == 1
    assert rates[12:] == [pytest.approx(0.5 * rates[8])] * 4


def test_learning_rate_scheduler_sets_the_rate_for_good(model):
    rates = fit(model, keras.callbacks.LearningRateScheduler(lambda epoch: 10.0**-epoch), epochs=2)
    assert rates == [pytest.approx(1.0)] * 4 + [pytest.approx(0.1)] * 4
    assert fit(model) == [pytest.approx(0.1)] * 4


def test_a_rate_set_before_fit_stays(model):
    model.optimizer.learning_rate = 0.25
    assert fit(model) == [0.25] * 4


def test_a_schedule_of_keras_can_be_set(model):
    model.optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    assert fit(model) == [0.5, 0.25, 0.125, 0.0625]


class StopsAt(keras.callbacks.Callback):
    """Fails at the end of an epoch, as a machine may."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise RuntimeError("power cut")


def test_backup_and_restore_goes_on_with_the_schedule(tmp_path):
    def new_model():
        model = random_model()
        model.compile(jit_compile=False)
        return model

    whole = fit(new_model(), epochs=3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(new_model(), backup, StopsAt(2), epochs=3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    assert fit(new_model(), backup, epochs=3) == whole[8:]


def test_it_is_saved_with_its_schedule(model, tmp_path):
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, FitAdamW)
    assert rate(loaded) == rate(model)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert fit(loaded)[0] == pytest.approx(6e-4)


def test_it_works_inside_a_loss_scale(model):
    model.compile(optimizer=keras.optimizers.LossScaleOptimizer(FitAdamW()), jit_compile=False)
    rates = fit(model, epochs=2)
    assert rates[0] == pytest.approx(6e-4)
    assert rates[-1] < 1.5e-4
