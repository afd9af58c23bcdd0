"""Random checkpoints of other systems, in several shapes."""

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gpt2_keras import GPT2Config as OurConfig

SHAPES = {
    "tiny": OurConfig(300, 32, 2, 2, 16, dropout_rate=0.0),
    "one head": OurConfig(97, 17, 1, 1, 8, dropout_rate=0.0),
    "many heads, narrow feed-forward": OurConfig(513, 64, 3, 8, 48, 40, dropout_rate=0.0),
    "deep": OurConfig(260, 24, 8, 4, 32, dropout_rate=0.0),
    "wide": OurConfig(1000, 128, 2, 12, 768, dropout_rate=0.0),
}
# Larger than GPT-2's initial weights, so that every part of the model changes the logits.
STDDEV = 0.08


def their_model(config, seed=0):
    """A random model of transformers, biases and norms included."""
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            n_embd=config.hidden_dim,
            n_inner=config.intermediate_dim,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=config.vocab_size - 1,
            eos_token_id=config.vocab_size - 1,
        )
    ).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            is_gamma = ".ln_" in name and name.endswith("weight")
            weight.normal_(std=STDDEV).add_(float(is_gamma))
    return model


def ids_of(config, shape, seed=0):
    return np.random.default_rng(seed).integers(0, config.vocab_size, shape).astype("int32")


def numbers(tensor):
    return tensor.detach().float().numpy()
