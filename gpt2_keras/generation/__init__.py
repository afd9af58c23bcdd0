"""Text from a model: samplers, the cached decoding loop, streaming, scores."""

from gpt2_keras.generation.beam import Beam, BeamSearch
from gpt2_keras.generation.contrastive import Contrastive
from gpt2_keras.generation.prefix import TextPrefix, read_prefix
from gpt2_keras.generation.rules import Rules
from gpt2_keras.generation.run import Generation
from gpt2_keras.generation.samplers import Sampler
from gpt2_keras.generation.scoring import NextToken, Score, next_tokens, score
from gpt2_keras.generation.speculative import Speculative
from gpt2_keras.generation.text import generate, stream

__all__ = [
    "Beam",
    "BeamSearch",
    "Contrastive",
    "Generation",
    "NextToken",
    "Rules",
    "Sampler",
    "Score",
    "Speculative",
    "TextPrefix",
    "generate",
    "next_tokens",
    "read_prefix",
    "score",
    "stream",
]
