"""Text from a model: samplers, searches, the cached decoding loop, streaming, log-probabilities.

generate, generate_details, stream    new text; read generate.py, session.py, decoding_loop.py
Sampler, LogitsProcessors             how the next token is chosen
BeamSearch, ContrastiveSearch, SpeculativeDecoding    searches, in search/
cache_prefix                          prefix caching
score, next_tokens                    log-probabilities of texts and of next tokens
"""

from gpt2_keras.generation.generate import generate, generate_details, stream
from gpt2_keras.generation.logits_processors import LogitsProcessors
from gpt2_keras.generation.prefix_cache import PrefixCache, cache_prefix
from gpt2_keras.generation.prompts import EncodedPrompt
from gpt2_keras.generation.sampler import Sampler
from gpt2_keras.generation.scoring import NextToken, Score, next_tokens, score
from gpt2_keras.generation.search.beam_search import BeamSearch
from gpt2_keras.generation.search.contrastive_search import ContrastiveSearch
from gpt2_keras.generation.search.speculative_decoding import SpeculativeDecoding
from gpt2_keras.generation.session import Generation

__all__ = [
    "BeamSearch",
    "ContrastiveSearch",
    "EncodedPrompt",
    "Generation",
    "LogitsProcessors",
    "NextToken",
    "PrefixCache",
    "Sampler",
    "Score",
    "SpeculativeDecoding",
    "cache_prefix",
    "generate",
    "generate_details",
    "next_tokens",
    "score",
    "stream",
]
