"""Whether XLA compiles the training step."""

import keras


def jit_by_default() -> bool | str:
    """Returns what `jit_compile` means where nobody says.

    On TensorFlow's CPU False: there XLA's matrix products are slower than
    TensorFlow's own, and compiling costs seconds. Measured with 4 layers of
    width 192 on 2 cores: 2700 to 2970 tokens per CPU-second without XLA, 2450 to
    2530 with it, and 10 s more before the first step. Elsewhere Keras' `"auto"`.
    """
    if keras.backend.backend() != "tensorflow":  # JAX raises where a kind of device is missing
        return "auto"
    accelerated = keras.distribution.list_devices("gpu") or keras.distribution.list_devices("tpu")
    return "auto" if accelerated else False
