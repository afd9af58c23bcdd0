"""Text from a model: samplers, the cached decoding loop, streaming, scores."""

from gpt2_keras.generation.generate import generate, stream
from gpt2_keras.generation.logits_processors import Rules
from gpt2_keras.generation.prefix_cache import PrefixCache, cache_prefix
from gpt2_keras.generation.sampling import Sampler
from gpt2_keras.generation.scoring import NextToken, Score, next_tokens, score
from gpt2_keras.generation.search.beam_search import Beam, BeamSearch
from gpt2_keras.generation.search.contrastive_search import Contrastive
from gpt2_keras.generation.search.speculative_decoding import Speculative
from gpt2_keras.generation.session import Generation

__all__ = [
    "Beam",
    "BeamSearch",
    "Contrastive",
    "Generation",
    "NextToken",
    "PrefixCache",
    "Rules",
    "Sampler",
    "Score",
    "Speculative",
    "cache_prefix",
    "generate",
    "next_tokens",
    "score",
    "stream",
]
