from gpt2_keras import GPT2Tokenizer
from gpt2_keras.verification.text_suite import passages, suite_texts


def test_the_suite_has_text_of_every_sort_and_is_the_same_every_time():
    texts = suite_texts()
    assert texts == suite_texts()
    everything = "".join(texts)
    assert "" in texts
    for sample in ("'ll", "\u3000", "\x00", "👨‍👩‍👧", "e\u0301", "人人", "العربية"[:2], "\t", "²"):
        assert sample in everything
    assert max(map(len, texts)) >= 300
    assert len(texts) > 300


def test_passages_are_the_text_and_fit():
    tokenizer = GPT2Tokenizer.train(["the cat"], vocab_size=258)
    text = "the cat, the 👨‍👩‍👧 and " * 9
    parts = passages(text, tokenizer, 10)
    assert "".join(parts) == text
    assert max(len(tokenizer.encode(part)) for part in parts) <= 10
    assert passages("a𝄞b", tokenizer, 3) == ["a", "b"]  # four bytes do not fit three tokens
    assert passages("", tokenizer, 3) == []
