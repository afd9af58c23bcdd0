"""The names of activations: checked, with wildcards and TransformerLens' newer names."""

import difflib
import fnmatch
from collections.abc import Sequence

from gpt2_keras.layers.activations import names_of
from gpt2_keras.validation import check_texts

# Names of TransformerLens' TransformerBridge for the same activations.
# Source: docs/source/content/model_structure.md of TransformerLensOrg/TransformerLens.
_ALIASES = {
    "embed.hook_out": "hook_embed",
    "pos_embed.hook_out": "hook_pos_embed",
    "hook_in": "hook_resid_pre",
    "ln1.hook_out": "ln1.hook_normalized",
    "attn.hook_attention_weights": "attn.hook_pattern",
    "attn.hook_out": "hook_attn_out",
    "ln2.hook_out": "ln2.hook_normalized",
    "mlp.hook_out": "hook_mlp_out",
    "hook_out": "hook_resid_post",
    "ln_final.hook_out": "ln_final.hook_normalized",
    "unembed.hook_in": "ln_final.hook_normalized",
}


def activation_names(num_layers: int) -> list[str]:
    """Returns the names of a model's activations, in the order of the forward pass.

    Example:
        >>> activation_names(1)[:4]
        ['hook_embed', 'hook_pos_embed', 'blocks.0.hook_resid_pre', 'blocks.0.ln1.hook_scale']
    """
    return names_of(num_layers)


def resolve_names(num_layers: int, names: str | Sequence[str]) -> dict[str, str]:
    """Returns the names of activations, by the names that were asked for.

    Args:
        num_layers: Number of layers of the model.
        names: Names; `*` stands for anything, as in `"blocks.*.attn.hook_pattern"`.

    Returns:
        The full name for each name, or for each that a wildcard stands for.

    Raises:
        TypeError: If a name is no string.
        ValueError: If there is no activation of that name.

    Example:
        >>> resolve_names(2, ["blocks.*.hook_resid_mid", "embed.hook_out"])
        {'blocks.0.hook_resid_mid': 'blocks.0.hook_resid_mid',
         'blocks.1.hook_resid_mid': 'blocks.1.hook_resid_mid', 'embed.hook_out': 'hook_embed'}
    """
    known = names_of(num_layers)
    resolved: dict[str, str] = {}
    for asked in check_texts("names", names):
        full = _without_alias(asked)
        if matches := [asked] if full in known else fnmatch.filter(known, full):
            resolved |= {each: _without_alias(each) for each in matches}
            continue
        nearest = difflib.get_close_matches(full, known, n=3, cutoff=0.3) or known[:3]
        raise ValueError(
            f"There is no activation {asked!r} in a model of {num_layers} layers. Names are "
            f"those of TransformerLens; the nearest are {', '.join(nearest)}. "
            "`understanding.activation_names` lists all."
        )
    return resolved


def _without_alias(name: str) -> str:
    """Returns TransformerLens' older name for a newer one.

    Example:
        >>> _without_alias("blocks.3.hook_in")
        'blocks.3.hook_resid_pre'
    """
    words = name.split(".")
    start, end = (words[:2], words[2:]) if words[0] == "blocks" else ([], words)
    end = [_ALIASES.get(".".join(end), ".".join(end))]
    return ".".join([*start, *end])
