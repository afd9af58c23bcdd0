"""Tiny models for tests."""

import numpy as np

from gpt2_keras import GPT2LM, GPT2Config, GPT2Tokenizer
from gpt2_keras.checkpoints import huggingface

CORPUS = ["the cat sat on the mat, and the dog sat on the log. it's 42 o'clock! "] * 20
TINY = GPT2Config(
    vocab_size=300, context_length=32, num_layers=2, num_heads=2, hidden_dim=16, dropout_rate=0.0
)


def random_model(config=TINY, tokenizer=None, seed=0, scale=0.3, **kwargs):
    """A model with every weight, biases and norms included, away from where it begins."""
    model = GPT2LM(config, tokenizer=tokenizer, **kwargs)
    random = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        kernel = variable.name == "kernel"  # (out, in), sampled as (in, out)
        noise = random.normal(size=variable.shape[::-1] if kernel else variable.shape) * scale
        noise = noise.T if kernel else noise
        variable.assign(noise + (variable.name == "gamma"))
    return model


def text_model(seed=0, **changes):
    """A random model that reads and writes text."""
    tokenizer = GPT2Tokenizer.train(CORPUS, vocab_size=280)
    fields = {**TINY.to_dict(), "vocab_size": tokenizer.vocab_size, **changes}
    return random_model(GPT2Config(**fields), tokenizer, seed)


def weights_of(model):
    """The weights as a dictionary by Hugging Face's names."""
    return {name: stored.read() for name, stored in huggingface.stored_variables(model).items()}


def random_ids(shape, config=TINY, seed=0):
    return np.random.default_rng(seed).integers(0, config.vocab_size, shape).astype("int32")
