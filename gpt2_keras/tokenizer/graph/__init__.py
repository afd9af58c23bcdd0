"""GPT-2's byte-level BPE in integer tensor ops, for tf.data, SavedModel and LiteRT."""
