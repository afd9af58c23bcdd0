"""The built-in texts on which an artifact's tokenizer must agree with the model's."""

import random

from gpt2_keras.tokenizer import GPT2Tokenizer

# What GPT-2's pattern splits into pre-tokens: contractions, letters, numbers, signs, white space,
# and characters that only look like one of them.
_WORDS = ("hello", " the", " tokenization", "naïve", " İstanbul", "ſ", "aaaa", "Ĵǅªß", "𝒜𝓑")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "’s", "'", "''", "'ſ")
_NUMBERS = ("6", " 12", "3.14159", "1,000,000", "١٢٣", "६", "½", "Ⅷ", "²", "〇", "𝟘", "①")
_SPACES = (" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680")
_WIDE_SPACES = ("\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", " \u3000", "\u3000 ")
_ZERO_WIDTH = ("\u200b", "\u200d", "\ufeff", "\u180e", "\x1c", "\x1f")
_CONTROL = ("\x00", "\x07", "\x1b[0m", "\x7f", "\x9f")
_MARKS = ("e\u0301", "\u0301", "a\u20dd", "z\u0353\u0322\u0347", "\u0903", "\ufe0f")
_SIGNS = ("!", "...", "--------", "€$", "<|endoftext|>", "<|", "_x_", "\\n", "\ufffd", "→∑")
_EMOJI = ("😀", "👨‍👩‍👧", "🏳️‍🌈", "🇩🇪", "👍🏽", "1️⃣", "🧑🏿‍🚀")
# The beginning of the Universal Declaration of Human Rights (United Nations, 1948), article 1.
_SCRIPTS = (
    "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা নিয়ে জন্মগ্রহণ করে।",
    "人人生而自由,在尊严和权利上一律平等。",
    "Tous les êtres humains naissent libres et égaux.",
    "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.",
    "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",
    "सभी मनुष्यों को गौरव के मामले में जन्मजात स्वतन्त्रता.",
    "すべての人間は、生まれながらにして自由である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "Все люди рождаются свободными и равными.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระ",
    "Tất cả mọi người sinh ra đều được tự do.",
)
_ENGLISH = (
    "All human beings are born free and equal in dignity and rights.",
    "It's what they'd've said: \"we're here, aren't we?\"",
    "def f(x):\n\treturn x ** 2  # squared\n\n\n",
    "https://example.org/a?b=c&d=%20#e  user@example.org",
    " leading, trailing \n \n",
)
_LONG = ("antidisestablishmentarianism" * 8, "a" * 300, " " * 120, "=" * 100, "é" * 90, "𝄞" * 40)
_FRAGMENTS = (
    *_WORDS, *_CONTRACTIONS, *_NUMBERS, *_SPACES, *_WIDE_SPACES, *_ZERO_WIDTH, *_CONTROL, *_MARKS,
    *_SIGNS, *_EMOJI,
)  # fmt: skip
_NUM_MIXTURES = 200
GREEDY_PROMPTS = ("The", "A", "In the beginning", "It's 42, isn't", "é𝄞\n\n x")


def suite_texts() -> list[str]:
    """Returns the built-in texts, the same every time.

    English, contractions, numbers, all white space, other scripts, emoji with
    joiners, combining marks, control characters, long words, the empty text, and
    mixtures of these.
    """
    rng = random.Random(0)  # noqa: S311 -- mixtures that repeat, no secrets
    mixtures = [
        "".join(rng.choices(_FRAGMENTS, k=rng.randint(2, 12))) for _ in range(_NUM_MIXTURES)
    ]
    return ["", *_FRAGMENTS, *_SCRIPTS, *_ENGLISH, *_LONG, *mixtures]


_CHARACTERS_PER_TOKEN = 16  # more than the text of a context has, on average


def default_text(characters: int = 8192) -> str:
    """Returns the beginning of the documentation that ships inside Python."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip() for name in sorted(topics))[:characters]


def special_token_texts(tokenizer: GPT2Tokenizer) -> list[str]:
    """Returns texts with the special tokens of a tokenizer, alone, between words and in rows."""
    tokens = list(tokenizer.special_tokens)
    texts = [text for token in tokens for text in (token, f"a{token}b", f"  {token} {token}\n")]
    return [*texts, "".join(tokens), " ".join(reversed(tokens))]


def passages(text: str, tokenizer: GPT2Tokenizer, max_tokens: int) -> list[str]:
    """Splits a text into passages that fill a context, so that each position of it is compared.

    Args:
        text: The text.
        tokenizer: Counts the tokens.
        max_tokens: Largest number of tokens of a passage.

    Returns:
        The passages, in order; together they are the text, without the characters
        that are longer than `max_tokens` alone.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["x"], vocab_size=257)
        >>> passages("one two three", tokenizer, 8)
        ['one two ', 'three']
    """
    found, start = [], 0
    while start < len(text):
        low, high = 0, min(len(text) - start, _CHARACTERS_PER_TOKEN * max_tokens)
        while low < high:  # the number of characters that fit
            middle = (low + high + 1) // 2
            fits = len(tokenizer.encode(text[start : start + middle])) <= max_tokens
            low, high = (middle, high) if fits else (low, middle - 1)
        if low:
            found.append(text[start : start + low])
        start += max(low, 1)
    return found
