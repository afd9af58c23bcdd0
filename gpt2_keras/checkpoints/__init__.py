"""Models on disk. The only place that knows other systems' names, such as `c_attn` and `wte`."""

from gpt2_keras.checkpoints.model_directory import load, save

__all__ = ["load", "save"]
