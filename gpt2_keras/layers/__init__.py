"""The parts of GPT-2, from the inside out: attention, feed-forward, blocks, embeddings."""

from gpt2_keras.layers.attention import CausalSelfAttention, attend
from gpt2_keras.layers.decoder import DecoderBlock, DecoderStack
from gpt2_keras.layers.embedding import PositionEmbedding
from gpt2_keras.layers.feed_forward import FeedForward
from gpt2_keras.layers.masks import causal_mask

__all__ = [
    "CausalSelfAttention",
    "DecoderBlock",
    "DecoderStack",
    "FeedForward",
    "PositionEmbedding",
    "attend",
    "causal_mask",
]
