# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Looking inside a trained GPT-2
#
# A notebook in text form: `jupytext --to notebook examples/explore.py`, or run it as it is:
# `python examples/explore.py demo/run`. It needs a trained model, such as that of `make demo`.

# %%
import sys
from pathlib import Path

from gpt2_keras import GPT2LM
from gpt2_keras.understanding import (
    ablate,
    attribute,
    contributions,
    edit,
    explore,
    find_heads,
    head_importance,
    patch,
    record,
    words,
)

named = sys.argv[1] if len(sys.argv) == 2 else ""
directory = named if Path(named).is_dir() and named else "demo/run"
model = GPT2LM.from_preset(directory)
text = "If an exception is raised in the body of a class definition"

# %% [markdown]
# ## What it expected
#
# In a notebook the exploration shows itself as a page with all panels; `to_html` writes it.

# %%
exploration = explore(model, text)
exploration

# %%
for token, bits, rank in zip(
    exploration.tokens[1:], exploration.bits[1:], exploration.ranks[1:], strict=True
):
    print(f"{token!r:>20} {bits:6.2f} bits, rank {rank}")

# %% [markdown]
# Words, whose surprisal is corrected for the spaces that begin them:

# %%
for word in words(exploration):
    print(f"{word.text!r:>20} {word.bits:6.2f} bits")

# %% [markdown]
# ## When it knew
#
# The logit lens: the rank of the last prediction's most likely token after each step.

# %%
for point, rank in zip(exploration.lens.points, exploration.lens.ranks[:, -1], strict=True):
    print(f"{point:>16} rank {rank}")

# %% [markdown]
# ## Where that comes from
#
# Why the most likely token, and not the second?

# %%
best, second = (int(token) for token in exploration.candidate_ids[-1, :2])
attribution = attribute(model, text, best, foil=second, method="integrated_gradients")
for token, value in zip(attribution.tokens, attribution.values, strict=True):
    print(f"{token!r:>20} {value:+.3f}")

# %% [markdown]
# The same difference of two logits, split among the parts of the model. They add up to it.

# %%
parts = contributions(model, text, best, foil=second)
print(f"difference of logits {parts.logit:.4f}, sum of all contributions {parts.total:.4f}")
print("heads, a row per layer:\n", parts.heads.round(2))
print("feed-forward networks:", parts.feed_forward.round(2))

# %% [markdown]
# ## Which heads matter

# %%
importance = head_importance(model, [text])
print("gradient in a gate of each head:\n", importance.round(3))
layer, head = divmod(int(importance.argmax()), model.config.num_heads)
without = ablate(model, text, (layer, head))
print(f"without head {layer}.{head}: {without.bits[1:].mean():.2f} bits per token,", end=" ")
print(f"with it {exploration.bits[1:].mean():.2f}")

# %%
scores = find_heads(model)
for kind in ("previous_token", "duplicate_token", "induction"):
    print(f"{kind:>16}", scores.top(kind, k=3))

# %% [markdown]
# ## What decides between two texts
#
# One token differs. Where must the clean text's residual stream be put for its prediction to
# return?

# %%
clean = exploration.token_ids.tolist()
middle = len(clean) // 2
corrupted = [*clean[:middle], clean[1], *clean[middle + 1 :]]
patching = patch(model, clean, corrupted, answer=best, foil=second)
print(f"token {middle} is another; a row per layer, a column per token:")
print(patching.values.round(2))

# %% [markdown]
# ## Anything else
#
# Every activation has a name, by which it is read and changed.

# %%
found = record(model, exploration.token_ids, "blocks.0.attn.hook_pattern")
print({name: value.shape for name, value in found.items()})
with edit(model, {"blocks.*.hook_mlp_out": lambda value, _: 0 * value}):
    print("without feed-forward networks:", model.generate(text, max_new_tokens=8))
