"""A vocabulary with some of its tokens, which encodes their texts as before.

BPE makes a token by merges, each of two tokens. Kept with a token are all tokens that its merges
pass through, and the merges. Of a text whose tokens are all kept, every merge that the whole
vocabulary applies is then there, with none of a lower rank between them: the ids are those of the
same tokens.
"""

from collections.abc import Collection, Sequence

from gpt2_keras.tokenizer.byte_alphabet import CHARACTER_TO_BYTE
from gpt2_keras.tokenizer.vocabulary import Vocabulary


def trimmed(vocabulary: Vocabulary, token_ids: Collection[int]) -> tuple[Vocabulary, list[int]]:
    """Returns a vocabulary with some tokens, and the old id of each of its ids.

    Args:
        vocabulary: The whole one.
        token_ids: The tokens to keep. Also kept are the 256 bytes, the special tokens, and what
            the merges of a token pass through.
    """
    tokens = vocabulary.tokens
    kept = _with_parts(
        [*CHARACTER_TO_BYTE, *vocabulary.special_tokens, *(tokens[each] for each in token_ids)],
        vocabulary.merges,
    )
    old_ids = sorted(vocabulary.ids[token] for token in kept)
    ids = {tokens[old]: new for new, old in enumerate(old_ids)}
    merges = [pair for pair in vocabulary.merges if {*pair, "".join(pair)} <= kept]
    smaller = Vocabulary(ids, merges, vocabulary.special_tokens, vocabulary.end_token)
    return smaller, old_ids


def _with_parts(tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> set[str]:
    """Returns tokens with all that their merges pass through."""
    made_of: dict[str, list[tuple[str, str]]] = {}
    for pair in merges:
        made_of.setdefault("".join(pair), []).append(pair)
    kept, waiting = set[str](), list(tokens)
    while waiting:
        token = waiting.pop()
        if token not in kept:
            kept.add(token)
            waiting += [part for pair in made_of.get(token, ()) for part in pair]
    return kept
