"""Each private name of Keras and TensorFlow that we use still does what we use it for."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import gpt2_keras
from gpt2_keras.layers.projection import Projection
from gpt2_keras.private_api import keras as private_keras
from gpt2_keras.private_api import tensorflow as private_tensorflow
from tests.models import TINY, random_model

PACKAGE = Path(gpt2_keras.__file__).parent


def test_a_model_is_not_run_on_symbolic_inputs_before_it_trains():
    built = []

    class Plain(keras.Sequential):
        def _symbolic_build(self, *args, **kwargs):
            built.append(type(self))
            super()._symbolic_build(*args, **kwargs)

    class Patched(Plain):
        pass

    private_keras.without_symbolic_build(Patched)
    for model_class in (Plain, Patched):
        with tf.distribute.MirroredStrategy(["cpu:0"]).scope():  # without one Keras builds later
            model = model_class([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse", jit_compile=False)
        model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    assert built == [Plain], "Keras builds in another way: see whether the patch is still needed"


def test_metrics_are_built_before_the_first_step():
    model = random_model()
    model.compile(metrics=["sparse_categorical_accuracy"])
    assert model.metrics_variables
    assert model._compile_metrics.built, "Keras builds compiled metrics in another way"


def test_the_loss_tracker_is_the_metric_called_loss():
    model = random_model()
    model.compile()
    tracker = private_keras.loss_tracker(model)
    tracker.update_state(3.0)
    assert tracker.name == "loss"
    assert float(model.get_metrics_result()["loss"]) == 3.0


def test_all_layers_of_a_model_are_found_once():
    model = random_model()
    layers = private_keras.all_layers(model)
    assert len(layers) == len({id(layer) for layer in layers})
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds.count("CausalSelfAttention") == TINY.num_layers
    assert kinds.count("LayerNorm") == 2 * TINY.num_layers + 1
    assert layers[0] is model


def test_the_raw_kernel_has_nothing_of_lora():
    layer = Projection(3)
    layer.build((None, None, 2))
    before = ops.convert_to_numpy(private_keras.raw_kernel(layer)).copy()
    layer.enable_lora(1)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    np.testing.assert_array_equal(private_keras.raw_kernel(layer), before)
    assert np.abs(ops.convert_to_numpy(layer.kernel) - before).max() > 0


def test_removed_weights_are_gone_from_a_built_layer():
    layer = Projection(3)
    layer.build((None, None, 2))
    layer.enable_lora(1)
    assert len(layer.weights) == 4
    private_keras.remove_weights(layer, (layer.lora_kernel_a, layer.lora_kernel_b))
    assert len(layer.weights) == 2


def test_averaged_weights_are_pairs_of_weight_and_average():
    weight = keras.Variable([1.0], name="w")
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75)
    optimizer.build([weight])
    for _ in range(2):
        optimizer.apply([np.array([4.0], "float32")])
    ((found, average),) = private_keras.averaged_weights(optimizer)
    assert found is weight
    # The average begins with the weight after the first step, 1 - 4.
    assert (float(weight[0]), float(average[0])) == (-7.0, 0.75 * -3.0 + 0.25 * -7.0)


def test_keras_calls_every_step_of_the_update():
    called = []

    class Watched(private_keras.AdamWSteps):
        def apply_weight_decay(self, variables):
            called.append("decay")
            super().apply_weight_decay(variables)

        def clip_gradients(self, gradients):
            called.append("clip")
            return super().clip_gradients(gradients)

        def update_weights(self, gradients, variables, rate):
            called.append("update")
            super().update_weights(gradients, variables, rate)

    weights = [keras.Variable([1.0, 2.0], name="kernel"), keras.Variable([3.0], name="bias")]
    copies = [keras.Variable(weight) for weight in weights]
    gradients = [np.array([0.5, -0.25], "float32"), np.array([2.0], "float32")]
    ours, theirs = Watched(0.1), keras.optimizers.AdamW(0.1)
    ours.exclude_from_weight_decay(var_names=["bias"])
    theirs.exclude_from_weight_decay(var_list=copies[1:])
    ours.apply(gradients, weights)
    theirs.apply(gradients, copies)
    assert sorted(called) == ["clip", "decay", "update"]
    for weight, copy in zip(weights, copies, strict=True):
        np.testing.assert_array_equal(weight, copy)
    assert ours.has_weight_decay(weights[0])
    assert not ours.has_weight_decay(weights[1])
    first, second = ours.moments(weights[0])
    # beta_1 = 0.9 and beta_2 = 0.999 of one gradient.
    np.testing.assert_allclose(first, 0.1 * gradients[0], rtol=1e-6)
    np.testing.assert_allclose(second, 0.001 * gradients[0] ** 2, rtol=1e-4)


def test_gradients_are_not_summed_over_replicas_a_second_time():
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    with strategy.scope():
        optimizer = keras.optimizers.SGD(1.0)
        weight = keras.Variable([0.0])
        optimizer.build([weight])
    own = optimizer._all_reduce_sum_gradients
    with private_keras.without_gradient_sum(optimizer):
        pairs = [(1, 2)]
        assert optimizer._all_reduce_sum_gradients(pairs) is pairs
        with private_keras.without_gradient_sum(optimizer):  # as another replica's thread
            pass
        assert optimizer._all_reduce_sum_gradients(pairs) is pairs
    assert optimizer._all_reduce_sum_gradients == own


def test_a_strategy_says_whether_there_are_several_workers():
    assert not private_tensorflow.in_multi_worker_mode(tf.distribute.MultiWorkerMirroredStrategy())


def test_the_lite_modules_have_what_is_used():
    schema, converter = private_tensorflow.lite_schema(), private_tensorflow.lite_converter()
    for name in ("Model", "BuiltinOperator", "TensorType", "BufferT", "MetadataT"):
        assert hasattr(schema, name), name
    assert callable(converter.convert_saved_model)


PRIVATE = re.compile(r"tensorflow\.(lite\.)?python|keras\.src|keras\.api")
# What Python, NumPy or we ourselves call so; `_replace` and `_asdict` are of named tuples.
OWN = {"_replace", "_asdict", "_fields", "_make"}


def private_names(source):
    """Attributes with one leading underscore that are not our own: not of `self` or `cls`."""
    tree = ast.parse(source)
    defined = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and "__" not in node.attr:
            if node.attr not in defined | OWN:
                yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom) and PRIVATE.search(ast.unparse(node)):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_other_module_uses_a_private_name(path):
    if path.parent.name != "private_api":
        assert set(private_names(path.read_text("utf-8"))) <= OTHERS.get(path.name, set())


# Names of KerasHub's layers, which `tests/checkpoints/test_kerashub.py` holds against a KerasHub
# model.
OTHERS = {
    "kerashub.py": {
        "_feedforward_intermediate_dense",
        "_feedforward_layer_norm",
        "_feedforward_output_dense",
        "_self_attention_layer",
        "_self_attention_layer_norm",
    },
}


def test_a_private_name_is_seen():
    assert list(private_names("model._loss_tracker.x")) == ["_loss_tracker"]
    assert list(private_names("from tensorflow.lite.python import convert"))
    assert not list(private_names("self._mine = 1\nself._mine.x"))


def test_the_writer_of_tensorboard_makes_an_event_file(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)
    board.set_model(random_model())
    with private_keras.train_writer(board).as_default():
        tf.summary.scalar("x", 1.0, step=1)
    board.on_train_end()
    assert list((tmp_path / "train").glob("events.out.tfevents.*"))


def test_one_process_of_a_distribution_is_the_chief():
    distribution = keras.distribution.DataParallel(devices=["cpu:0"])
    assert private_keras.process_id(distribution) == 0
