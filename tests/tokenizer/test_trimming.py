"""A trimmed tokenizer encodes the texts of its tokens as before, and every text back to itself."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.trimming import trimmed
from gpt2_keras.tokenizer.vocabulary import Vocabulary
from tests.models import CORPUS

WHOLE = GPT2Tokenizer.train(CORPUS, vocab_size=320)
TEXTS = st.lists(st.sampled_from(" ".join(CORPUS[:1]).split(" ")), max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.text(max_size=20))
def test_texts_of_its_tokens_have_the_same_tokens(text, other):
    ids = WHOLE.encode(text)
    smaller, old_ids = WHOLE.trimmed(ids)
    assert [old_ids[each] for each in smaller.encode(text)] == ids
    assert [WHOLE.token_bytes[old] for old in old_ids] == smaller.token_bytes
    assert smaller.decode(smaller.encode(other)) == other
    assert smaller.special_tokens.keys() == WHOLE.special_tokens.keys()


def test_nothing_to_keep_leaves_the_bytes_and_the_special_tokens():
    smaller, old_ids = WHOLE.with_special_tokens(["<|user|>"]).trimmed([])
    assert smaller.vocab_size == len(old_ids) == 258
    assert smaller.special_tokens == {"<|endoftext|>": 256, "<|user|>": 257}
    assert smaller.merges == []


def test_the_policy_and_a_second_way_to_a_token_stay():
    special = WHOLE.with_special_tokens(["<|user|>"]).with_special_tokens_policy("none")
    assert special.trimmed([])[0].special_tokens_policy == "none"
    ids = {token: number for number, token in enumerate(WHOLE._vocabulary.tokens[:256])}
    for token in ("ab", "bc", "abc", "<|endoftext|>"):
        ids[token] = len(ids)
    merges = [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]
    vocabulary = Vocabulary(ids, merges)
    smaller, old_ids = trimmed(vocabulary, [ids["abc"]])
    assert smaller.merges == merges  # each may be the one that makes it
    assert old_ids == list(range(260))
