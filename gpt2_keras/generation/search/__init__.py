"""Searches: beam search, contrastive search, speculative decoding."""
