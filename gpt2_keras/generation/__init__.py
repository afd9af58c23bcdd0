"""Text from a model: samplers, the cached decoding loop, streaming, scores."""

from gpt2_keras.generation.samplers import Sampler
from gpt2_keras.generation.scoring import NextToken, Score, next_tokens, score
from gpt2_keras.generation.text import generate, stream

__all__ = ["NextToken", "Sampler", "Score", "generate", "next_tokens", "score", "stream"]
