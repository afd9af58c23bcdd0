"""Every activation of GPT-2 in NumPy by TransformerLens' name, written apart from the package."""

import numpy as np

from tests.reference import gelu, linear, norm


def activations(weights, token_ids, num_heads):
    """int (batch, time) → a dictionary of float64 arrays, the logits among them."""
    weights = {
        name.removeprefix("transformer."): np.asarray(value, "float64")
        for name, value in weights.items()
    }
    layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("h."))
    batch, time = token_ids.shape
    found = {
        "hook_embed": weights["wte.weight"][token_ids],
        "hook_pos_embed": np.repeat(weights["wpe.weight"][None, :time], batch, axis=0),
    }
    x = found["hook_embed"] + found["hook_pos_embed"]
    for layer in range(layers):
        part = {
            name.removeprefix(f"h.{layer}."): value
            for name, value in weights.items()
            if name.startswith(f"h.{layer}.")
        }
        x = block(x, part, num_heads, found, f"blocks.{layer}.")
    found["ln_final.hook_scale"] = scale(x)
    found["ln_final.hook_normalized"] = norm(x, weights, "ln_f")
    found["logits"] = found["ln_final.hook_normalized"] @ weights["wte.weight"].T
    return found


def block(x, part, num_heads, found, prefix):
    batch, time, width = x.shape
    found[f"{prefix}hook_resid_pre"] = x
    found[f"{prefix}ln1.hook_scale"] = scale(x)
    found[f"{prefix}ln1.hook_normalized"] = normalized = norm(x, part, "ln_1")
    qkv = linear(normalized, part, "attn.c_attn").reshape(batch, time, 3, num_heads, -1)
    q, k, v = np.moveaxis(qkv, 2, 0)  # (batch, time, heads, head_dim)
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(width // num_heads)
    scores = np.where(np.tri(time, dtype=bool), scores, -1e10)
    pattern = np.exp(scores - scores.max(-1, keepdims=True))
    pattern /= pattern.sum(-1, keepdims=True)
    z = np.einsum("bhqk,bkhd->bqhd", pattern, v)
    names = ("q", "k", "v", "attn_scores", "pattern", "z")
    for name, value in zip(names, (q, k, v, scores, pattern, z), strict=True):
        found[f"{prefix}attn.hook_{name}"] = value
    found[f"{prefix}hook_attn_out"] = linear(z.reshape(x.shape), part, "attn.c_proj")
    x = x + found[f"{prefix}hook_attn_out"]
    found[f"{prefix}hook_resid_mid"] = x
    found[f"{prefix}ln2.hook_scale"] = scale(x)
    found[f"{prefix}ln2.hook_normalized"] = normalized = norm(x, part, "ln_2")
    found[f"{prefix}mlp.hook_pre"] = linear(normalized, part, "mlp.c_fc")
    found[f"{prefix}mlp.hook_post"] = gelu(found[f"{prefix}mlp.hook_pre"])
    found[f"{prefix}hook_mlp_out"] = linear(found[f"{prefix}mlp.hook_post"], part, "mlp.c_proj")
    found[f"{prefix}hook_resid_post"] = x + found[f"{prefix}hook_mlp_out"]
    return found[f"{prefix}hook_resid_post"]


def scale(x):
    return np.sqrt(x.var(-1, keepdims=True) + 1e-5)
