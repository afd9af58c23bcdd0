"""Learning a vocabulary."""

import subprocess
import sys

import pytest

from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def small() -> GPT2Tokenizer:
    return GPT2Tokenizer.train(["low lower lowest slow slower newest"] * 2, vocab_size=270)


def test_bytes_come_first_then_merges_then_end_of_text(small):
    tokens = small.token_bytes
    assert tokens[:256] == [bytes([byte]) for byte in bytes_to_unicode()]
    merged = [tokens[left] + tokens[right] for left, right in small.merges]
    assert tokens[256:] == [*merged, END.encode()]
    assert merged[0] == b"lo"  # the commonest pair, and the first of equals
    assert small.end_token_id == small.vocab_size - 1 == 269


def test_training_gives_the_same_vocabulary_in_another_process(tmp_path, text_files):
    text = (text_files / "tinyshakespeare.txt").read_text(encoding="utf-8")[:100_000]
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    code = (
        "import pathlib, sys; from gpt2_keras.tokenizer import GPT2Tokenizer as T;"
        "text = pathlib.Path(sys.argv[1]).read_text(encoding='utf-8');"
        "print(T.train([text], 600).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "text.txt")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert found == GPT2Tokenizer.train([text], 600).fingerprint


def test_a_small_corpus_gives_a_smaller_vocabulary():
    tokenizer = GPT2Tokenizer.train(iter(["aa aa", ""]), vocab_size=1000)
    assert tokenizer.token_bytes[256:] == [b"aa", END.encode()]  # of "aa" and " aa"
    assert GPT2Tokenizer.train(["ab"], vocab_size=1000).vocab_size == 257


def test_special_tokens_in_the_training_text_are_plain_text():
    tokenizer = GPT2Tokenizer.train([END * 50], vocab_size=300)
    assert tokenizer.token_bytes.count(END.encode()) == 1
    assert tokenizer.end_token_id not in tokenizer.encode(END)


def test_training_shows_progress_only_when_asked(capfd):
    GPT2Tokenizer.train(["low lower"], vocab_size=260)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (256, ValueError, r"^vocab_size=256 is less than 257\. .* the 256 bytes and <\|endoftext"),
        (-1, ValueError, r"^vocab_size=-1 is less than 257\."),
        (300.0, TypeError, r"^vocab_size=300\.0 is a float\. Use an integer of at least 257\."),
        (float("nan"), TypeError, r"^vocab_size=nan is a float\."),
        ("300", TypeError, r"^vocab_size='300' is a str\."),
        (True, TypeError, r"^vocab_size=True is a bool\."),
    ],
)
def test_a_bad_vocabulary_size_is_an_error(bad, error, message):
    with pytest.raises(error, match=message):
        GPT2Tokenizer.train(["text"], vocab_size=bad)


@pytest.mark.parametrize("empty", [[], [""], ["", ""]])
def test_training_on_no_character_is_an_error(empty):
    with pytest.raises(ValueError, match=r"^texts has no character to learn from\."):
        GPT2Tokenizer.train(empty, vocab_size=300)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("one string", r"^texts is one str\. Use an iterable of str: \[text\]\."),
        (b"bytes", r"^texts is one bytes\."),
        (3, r"^texts is one int\."),
        ([b"bytes"], r"^text=b'bytes' is a bytes\. Use a str\. Decode bytes first\."),
    ],
)
def test_training_on_what_is_no_text_is_an_error(bad, message):
    with pytest.raises(TypeError, match=message):
        GPT2Tokenizer.train(bad, vocab_size=300)


def test_show_progress_that_is_no_bool_is_an_error():
    with pytest.raises(TypeError, match=r"^show_progress=1 is an int\."):
        GPT2Tokenizer.train(["text"], vocab_size=300, show_progress=1)
