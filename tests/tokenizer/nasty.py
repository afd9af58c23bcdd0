"""Texts made to break a tokenizer."""

import random

SPACES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\x0b", "\x0c", "\x85", "\xa0", "\u1680"]
SPACES += ["\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", " \u3000", "\u3000 "]
NOT_SPACES = ["\x1c", "\x1d", "\x1e", "\x1f", "\u200b", "\u200d", "\ufeff", "\u180e", "\x00"]
NOT_SPACES += ["\x7f"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'Ll", "'lL", "'r", "'v"]
CONTRACTIONS += ["'", "''", "’s", "'ſ", "'e", "'l", "s", "re", "'se", "'ss"]
DIGITS = ["6", "12", "६", "٣", "½", "Ⅷ", "²", "〇", "𝟘", "①"]
LETTERS = ["a", "Z", "é", "ß", "ж", "Слово", "中文", "日本", "한국어", "ไทย", "हिन्दी", "עברית"]
LETTERS += ["العربية", "Ĵ", "ǅ", "ª", "𝒜"]
MARKS = ["\u0301", "\u0903", "\u20dd", "\ufe0f", "\u093f"]
SIGNS = ["!", "...", "-", "--------", "=", "€", "$", "<|endoftext|>", "<|", "|>", "_", "\\"]
SIGNS += ["\ufffd"]
EMOJI = ["😀", "👨‍👩‍👧", "🏳️‍🌈", "🇩🇪", "👍🏽", "1️⃣"]
WORDS = [" the", "hello", " tokenization", "aaaa", "aaaaaaaaaaaaaaaaaaaaaaa"]
WORDS += [" antidisestablishmentarianism"]
TEXT_FRAGMENTS = [
    *SPACES, *NOT_SPACES, *CONTRACTIONS, *DIGITS, *LETTERS, *MARKS, *SIGNS, *EMOJI, *WORDS,
]  # fmt: skip
FRAGMENTS = [fragment.encode() for fragment in TEXT_FRAGMENTS]
# Not UTF-8: lone and missing continuations, overlong forms, surrogates, above U+10FFFF.
BROKEN = [b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1\xbf", b"\xc3", b"\xe2\x82", b"\xe0\x80\xaf"]
BROKEN += [b"\xff", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x9f\x98"]
BROKEN += [b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf0\x9f", b"\xf0"]
BROKEN += [b"\xe3\x80", b"\xc2", b"\xfe"]


def seeded(seed: int) -> random.Random:
    """Returns a source of random choices that repeats."""
    return random.Random(seed)  # noqa: S311 -- tests, no secrets


def random_text(rng: random.Random, broken: bool) -> bytes:
    """Returns a short random text of nasty fragments, with invalid UTF-8 if `broken`."""
    fragments = FRAGMENTS + BROKEN * 2 if broken else FRAGMENTS
    text = b"".join(rng.choices(fragments, k=rng.randint(0, 12)))
    if broken and text and rng.random() < 0.3:
        index = rng.randrange(len(text))
        text = text[:index] + bytes([rng.randrange(256)]) + text[index + rng.randint(0, 2) :]
    return text


def trained_vocabulary(seed, num_merges, alphabet=b" abcde'\xc3\xa9", in_order=True):
    """Returns a vocabulary of random merges, byte ids and merged ids in no order."""
    rng = seeded(seed)
    strings, pairs = [bytes([value]) for value in alphabet], []
    known = {bytes([value]) for value in range(256)}
    while len(pairs) < num_merges:
        left, right = rng.choice(strings), rng.choice(strings)
        if len(left + right) > 20 or (in_order and left + right in known):
            continue
        pairs.append((left, right))
        if left + right not in known:
            strings.append(left + right)
        known.add(left + right)
    if not in_order:
        rng.shuffle(pairs)
    tokens = sorted(known)
    rng.shuffle(tokens)
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    return tokens, [(ids[left], ids[right]) for left, right in pairs]
