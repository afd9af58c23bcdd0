"""Attention heads that are found in every GPT-2, by what they attend to."""

import dataclasses

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.recording import record
from gpt2_keras.validation import check_choice, check_integer

_MAX_LENGTH = 50  # of what is repeated
_NUM_TEXTS = 4
PATTERNS = ("previous_token", "duplicate_token", "induction")


@dataclasses.dataclass(frozen=True)
class HeadScores:
    """How much each head attends like those that are known by a name.

    Each is a float32 array `(layers, heads)`, the mean of the attention weights, in [0, 1].

    Args:
        previous_token: To the token before.
        duplicate_token: To where the same token stood earlier.
        induction: To the token after that: what followed last time.
    """

    previous_token: np.ndarray
    duplicate_token: np.ndarray
    induction: np.ndarray

    def top(self, pattern: str, k: int = 5) -> list[tuple[str, float]]:
        """Returns the heads of the largest scores, as `"5.1"`, and their scores.

        Args:
            pattern: `"previous_token"`, `"duplicate_token"` or `"induction"`.
            k: Number of heads.

        Raises:
            ValueError: If there is no such pattern, or `k` is below 1.
        """
        check_choice("pattern", pattern, PATTERNS)
        check_integer("k", k, minimum=1)
        scores: np.ndarray = getattr(self, pattern)
        best = np.argsort(-scores, axis=None, kind="stable")[:k]
        pairs = zip(*np.unravel_index(best, scores.shape), strict=True)
        return [(f"{layer}.{head}", float(scores[layer, head])) for layer, head in pairs]


def find_heads(model: GPT2Model, *, seed: int = 0) -> HeadScores:
    """Measures what each attention head attends to in random tokens that are repeated once.

    Nothing else can be known of them, so what a head attends to is what it always does. Source:
    Olsson et al., "In-context Learning and Induction Heads" (2022).

    Args:
        model: The model.
        seed: Of the random tokens.

    Raises:
        TypeError: If `seed` is no integer.
        ValueError: If `seed` is negative, or the context is shorter than 5 tokens.
    """
    check_integer("seed", seed, minimum=0)
    config = model.config
    length = min(_MAX_LENGTH, (config.context_length - 1) // 2)
    if length < 2:
        raise ValueError(
            f"context_length={config.context_length} is too short. Two tokens are repeated after "
            "one at least, so it must be 5 or more. Use another model."
        )
    random = np.random.default_rng(seed)
    first = model.tokenizer.end_token_id if model.tokenizer is not None else 0
    half = random.integers(0, config.vocab_size, (_NUM_TEXTS, length))
    starts = np.full((_NUM_TEXTS, 1), first)
    token_ids = np.concatenate([starts, half, half], axis=1)
    queries = np.arange(1 + length, 1 + 2 * length)
    scores = np.zeros((len(PATTERNS), config.num_layers, config.num_heads), "float32")
    for layer in range(config.num_layers):
        name = f"blocks.{layer}.attn.hook_pattern"
        pattern = record(model, token_ids, name)[name]  # (texts, heads, time, time)
        for index, distance in enumerate((1, length, length - 1)):
            scores[index, layer] = pattern[:, :, queries, queries - distance].mean(axis=(0, 2))
    return HeadScores(*scores)
