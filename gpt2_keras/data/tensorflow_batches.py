"""Batches as a `tf.data` dataset."""

import tensorflow as tf

from gpt2_keras.data.batch_plan import BatchPlan

# One call into Python gathers the batches of about this many tokens: a call costs about 100 µs,
# as much as a small batch.
_TOKENS_PER_CALL = 32 * 1024


def tensorflow_batches(plan: BatchPlan) -> tf.data.Dataset:
    """Returns the batches of a plan, prefetched; the cardinality is known."""
    start, num_full, num_steps = plan.start_step, plan.num_full, plan.num_steps
    dataset = _batches(plan, start, num_full, plan.batch_size)
    if plan.last_rows:
        last = _batches(plan, max(start, num_full), num_steps, plan.last_rows)
        dataset = dataset.concatenate(last)
    cardinality = tf.data.INFINITE_CARDINALITY if plan.repeat else num_steps - start
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(cardinality))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _batches(plan: BatchPlan, first_step: int, last_step: int, rows: int) -> tf.data.Dataset:
    """Returns the `shard` of each batch of `rows` rows."""
    rows //= plan.shard[1]

    def load(steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gathered = tf.numpy_function(
            lambda numbers: plan.gather(numbers, rows), [steps], tf.int32, stateful=False
        )
        return plan.split(tf.ensure_shape(gathered, [None, rows, plan.width]))

    steps_per_call = max(1, _TOKENS_PER_CALL // (rows * plan.width))
    steps = tf.data.Dataset.range(first_step, last_step).batch(steps_per_call)
    return steps.map(load, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
