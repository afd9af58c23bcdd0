"""Text from a model: samplers, the cached decoding loop, streaming, scores."""

from gpt2_keras.generation.prefix import TextPrefix, read_prefix
from gpt2_keras.generation.rules import Rules
from gpt2_keras.generation.run import Generation
from gpt2_keras.generation.samplers import Sampler
from gpt2_keras.generation.scoring import NextToken, Score, next_tokens, score
from gpt2_keras.generation.text import generate, stream

__all__ = [
    "Generation",
    "NextToken",
    "Rules",
    "Sampler",
    "Score",
    "TextPrefix",
    "generate",
    "next_tokens",
    "read_prefix",
    "score",
    "stream",
]
