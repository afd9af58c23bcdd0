"""The checks of a vocabulary."""

import pytest

from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode
from gpt2_keras.tokenizer.special_tokens import check_allowed_special
from gpt2_keras.tokenizer.vocabulary import Vocabulary

END = "<|endoftext|>"


def ids_of_bytes(*more: str) -> dict[str, int]:
    return {token: i for i, token in enumerate([*bytes_to_unicode().values(), END, *more])}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"a": "64"}, r"^the vocabulary maps 'a' to '64'\. Map strings to integers, for example"),
        ({"a": True}, r"^the vocabulary maps 'a' to True\."),
        ({5: 64}, r"^the vocabulary maps 5 to 64\."),
    ],
)
def test_a_token_that_is_no_string_or_an_id_that_is_no_integer_is_an_error(bad, message):
    with pytest.raises(TypeError, match=message):
        Vocabulary({**ids_of_bytes(), **bad}, [])


def test_an_id_given_twice_is_an_error():
    message = r"^the vocabulary has id 0, of '\"', where 1 should come next\. .* without a gap"
    with pytest.raises(ValueError, match=message):
        Vocabulary({**ids_of_bytes(), '"': 0}, [])


def test_a_missing_byte_is_an_error():
    ids = {token: i for i, token in enumerate(t for t in ids_of_bytes() if t != "Ġ")}
    message = r"no token for 1 of the 256 bytes, the first of them 0x20, spelled 'Ġ'"
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids, [])


def test_a_vocabulary_without_end_of_text_is_an_error():
    ids = ids_of_bytes()
    del ids[END]
    message = (
        r"no special token '<\|endoftext\|>' among its 256 tokens.*\"eos_token\" in a "
        r"tokenizer_config\.json.* add '<\|endoftext\|>' with id 256"
    )
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids, [])
    with pytest.raises(ValueError, match=r"among its 257 tokens, of which \[\] are special"):
        Vocabulary(ids_of_bytes(), [], ())


def test_a_merge_given_twice_is_an_error():
    message = r"^Merge 1 of the vocabulary, 'a' \+ 'b', is given twice\."
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids_of_bytes("ab"), [("a", "b"), ("a", "b")])


def test_a_merge_into_a_special_token_is_an_error():
    message = r"^Merge 0 of the vocabulary is 'a' \+ 'b', but 'ab' is special\."
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids_of_bytes("ab"), [("a", "b")], (END, "ab"))


def test_a_token_that_no_merge_makes_is_an_error():
    message = r"^2 tokens of the vocabulary are made by none of its 0 merges.*'ab' \(id 257\)"
    with pytest.raises(ValueError, match=message):
        Vocabulary(ids_of_bytes("ab", "cd"), [])


def test_special_tokens_are_added_with_the_ids_that_come_next():
    larger = Vocabulary(ids_of_bytes(), []).with_special_tokens(["<a>", "<b>"])
    assert (larger.ids["<a>"], larger.ids["<b>"]) == (257, 258)
    assert larger.special_tokens == (END, "<a>", "<b>")


@pytest.mark.parametrize(
    ("error", "tokens", "message"),
    [
        (TypeError, "<a>", r"^tokens='<a>' is a str\. Use a list of str: \['<a>'\]\."),
        (TypeError, ["<a>", 3], r"^tokens\[1\]=3 is an int\. Use a str\."),
        (ValueError, [""], r"^tokens\[0\]='' is empty\. Use new texts, each once"),
        (ValueError, ["<a>", "<a>"], r"^tokens\[1\]='<a>' is a token already\."),
        (ValueError, [END], r"^tokens\[0\]='<\|endoftext\|>' is a token already\."),
    ],
)
def test_special_tokens_that_cannot_be_added_are_errors(error, tokens, message):
    with pytest.raises(error, match=message):
        Vocabulary(ids_of_bytes(), []).with_special_tokens(tokens)


@pytest.mark.parametrize(
    ("error", "allowed", "message"),
    [
        (
            TypeError,
            None,
            r"^allowed_special is None\. Use 'none', 'all', or a list",
        ),
        (TypeError, 3, r"^allowed_special=3 is an int\."),
        (
            ValueError,
            END,
            r"^allowed_special='<\|endoftext\|>' is one str\. Use 'none', 'all', or a list",
        ),
        (ValueError, ["<pad>"], r"has '<pad>', no special token\. .*\['<\|endoftext\|>'\]"),
    ],
)
def test_only_special_tokens_can_be_allowed(error, allowed, message):
    with pytest.raises(error, match=message):
        check_allowed_special(allowed, {END: 256})
