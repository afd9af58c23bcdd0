"""Learning a vocabulary from text."""

import json
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from gpt2_keras.tokenizer.byte_alphabet import BYTE_TO_CHARACTER
from gpt2_keras.tokenizer.encoding import without_surrogates
from gpt2_keras.tokenizer.vocabulary import END_OF_TEXT, Vocabulary
from gpt2_keras.validation import check_flag, check_integer

MIN_VOCAB_SIZE = 257  # the 256 bytes and <|endoftext|>
# A pair that occurs once saves nothing by being a token.
MIN_PAIR_COUNT = 2


def learn_vocabulary(
    texts: Iterable[str], vocab_size: int, *, show_progress: bool = False
) -> Vocabulary:
    """Learns a vocabulary from text; see `GPT2Tokenizer.train`, which is its contract."""
    check_integer(
        "vocab_size",
        vocab_size,
        minimum=MIN_VOCAB_SIZE,
        advice=f"That is the 256 bytes and {END_OF_TEXT}; 4096 suits a small corpus.",
    )
    check_flag("show_progress", show_progress)
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TypeError(f"texts is one {type(texts).__name__}. Use an iterable of str: [text].")
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,  # the trainer's own does not count <|endoftext|>
        min_frequency=MIN_PAIR_COUNT,
        initial_alphabet=list(BYTE_TO_CHARACTER.values()),
        show_progress=show_progress,
    )
    bpe.train_from_iterator(_checked_texts(texts), trainer)
    merges = [(left, right) for left, right in json.loads(bpe.to_str())["model"]["merges"]]
    # Two merges may have one result; it keeps the id of the first.
    tokens = dict.fromkeys(BYTE_TO_CHARACTER.values())
    tokens.update(dict.fromkeys(left + right for left, right in merges))
    ids = {token: token_id for token_id, token in enumerate([*tokens, END_OF_TEXT])}
    return Vocabulary(ids, merges)


def _checked_texts(texts: Iterable[str]) -> Iterator[str]:
    """Yields the texts without surrogates; raises an error if all of them are empty."""
    is_empty = True
    for text in texts:
        is_empty = is_empty and not text
        yield without_surrogates(text)
    if is_empty:
        raise ValueError(
            "texts has no character to learn from. Check that the files of the corpus are the "
            "right ones."
        )
