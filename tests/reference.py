"""GPT-2 in NumPy, as an oracle: it shares no code with the package.

Written from the formulas of openai/gpt-2 `src/model.py`, over a dictionary of
weights by the names Hugging Face gives them.
"""

import numpy as np


def logits(weights, token_ids, num_heads):
    """int (batch, time) → float64 (batch, time, vocab)."""
    return hidden_states(weights, token_ids, num_heads)[-1] @ weights["transformer.wte.weight"].T


def hidden_states(weights, token_ids, num_heads):
    """int (batch, time) → list of float64 (batch, time, width)."""
    weights = {
        name.removeprefix("transformer."): np.asarray(value, "float64")
        for name, value in weights.items()
    }
    num_layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("h."))
    x = weights["wte.weight"][token_ids] + weights["wpe.weight"][: token_ids.shape[1]]
    states = [x]
    for layer in range(num_layers):
        part = {
            name.removeprefix(f"h.{layer}."): value
            for name, value in weights.items()
            if name.startswith(f"h.{layer}.")
        }
        x = x + attention(norm(x, part, "ln_1"), part, num_heads)
        x = x + linear(gelu(linear(norm(x, part, "ln_2"), part, "mlp.c_fc")), part, "mlp.c_proj")
        states.append(x)
    states[-1] = norm(x, weights, "ln_f")
    return states


def attention(x, part, num_heads):
    batch, time, width = x.shape
    qkv = linear(x, part, "attn.c_attn").reshape(batch, time, 3, num_heads, width // num_heads)
    mixed = np.zeros((batch, time, num_heads, width // num_heads))
    for b in range(batch):
        for h in range(num_heads):
            q, k, v = qkv[b, :, 0, h], qkv[b, :, 1, h], qkv[b, :, 2, h]  # (time, head_dim)
            for t in range(time):
                scores = k[: t + 1] @ q[t] / np.sqrt(width // num_heads)
                weights = np.exp(scores - scores.max())
                mixed[b, t, h] = weights @ v[: t + 1] / weights.sum()
    return linear(mixed.reshape(batch, time, width), part, "attn.c_proj")


def linear(x, part, name):
    return x @ part[f"{name}.weight"] + part[f"{name}.bias"]


def norm(x, part, name):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    scaled = (x - mean) / np.sqrt(variance + 1e-5)
    return scaled * part[f"{name}.weight"] + part[f"{name}.bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
