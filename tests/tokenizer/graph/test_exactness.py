"""The in-graph tokenizer has OpenAI's ids for every text, in every way it can run."""

import random
from pathlib import Path

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt2_keras.tokenizer.unicode_classes import LETTER, NUMBER, character_classes
from tests.tokenizer.multilingual import TEXTS
from tests.tokenizer.nasty import BROKEN, FRAGMENTS, random_text, seeded

EVERY_CHARACTER = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# Around a character `c`: text ends, letters, digits, spaces, itself, a contraction.
AROUND = ("{c}", "a{c}b", "1{c}2", " {c} ", "{c}{c}", "\n{c}'s{c}", "!{c} a", "  {c}  ")
MEGABYTE = 1 << 20


def differences(tokenize, expected, texts):
    """Returns the first texts whose ids are not as expected, with both."""
    got = tokenize(texts)
    assert len(got) == len(texts)
    pairs = zip(texts, got, map(expected, texts), strict=True)
    return [(text[:200], ids[:50], want[:50]) for text, ids, want in pairs if ids != want][:3]


@pytest.fixture
def expected(openai):
    return lambda text: openai.encode_ordinary(text.decode())


@pytest.mark.parametrize("name", ["tinyshakespeare.txt", "wikitext2-valid.txt"])
def test_texts_in_whole_and_in_parts_have_openais_ids(name, text_files, tokenize, expected):
    text = (text_files / name).read_bytes()
    lines = text.splitlines(keepends=True)
    passages = [text[i : i + 1000] for i in range(0, len(text) // 3, 1000)]
    passages = [passage.decode(errors="ignore").encode() for passage in passages]
    assert differences(tokenize, expected, [text]) == []
    assert differences(tokenize, expected, [*lines[:4000], *passages]) == []


def test_python_code_has_openais_ids(tokenize_fast, expected):
    files = sorted(Path(random.__file__).parent.glob("*.py"))[::3]
    assert len(files) > 40
    texts = [path.read_bytes().decode(errors="replace").encode() for path in files]
    assert differences(tokenize_fast, expected, texts) == []


@pytest.mark.slow
def test_all_of_the_standard_library_has_openais_ids(tokenize, expected):
    files = sorted(Path(random.__file__).parent.rglob("*.py"))
    files = [path for path in files if "site-packages" not in path.parts]
    for i in range(0, len(files), 100):
        texts = [path.read_bytes().decode(errors="replace").encode() for path in files[i : i + 100]]
        assert differences(tokenize, expected, texts) == []


def test_many_languages_have_openais_ids(tokenize, expected, reference):
    texts = [text.encode() for text in TEXTS.values()]
    texts += [text[i:].encode() for text in TEXTS.values() for i in range(0, 40, 3)]
    texts.append(" ".join(TEXTS.values()).encode())
    assert differences(tokenize, expected, texts) == []
    assert differences(tokenize, reference.encode, texts) == []


def _check_characters(tokenize, expected, characters):
    texts = ["".join(form.replace("{c}", chr(c)) for form in AROUND[1:]) for c in characters]
    rows = [text.encode() for text in texts] + [chr(c).encode() for c in characters]
    assert differences(tokenize, expected, rows) == []


def test_every_fifth_character_up_to_plane_3_has_openais_ids(tokenize_fast, expected):
    classes = character_classes()
    edges = [c for c in EVERY_CHARACTER[1:] if classes[c] != classes[c - 1]]
    few = [c for c in EVERY_CHARACTER if c < 0x3000 or (c < 0x34000 and c % 5 == 0)]
    chosen = sorted({*few, *edges, *(c - 1 for c in edges if c != 0xE000)})
    _check_characters(tokenize_fast, expected, chosen)


@pytest.mark.slow
def test_every_character_has_openais_ids(tokenize, expected):
    for i in range(0, len(EVERY_CHARACTER), 50_000):
        _check_characters(tokenize, expected, EVERY_CHARACTER[i : i + 50_000])


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    seed=st.integers(0, 2**32), fragments=st.lists(st.sampled_from(FRAGMENTS + BROKEN), max_size=20)
)
def test_20000_nasty_strings_have_the_ids_of_the_reference(
    tokenize_fast, reference, seed, fragments
):
    rng = seeded(seed)
    texts = [b"".join(fragments)] + [random_text(rng, broken=i % 2 == 0) for i in range(99)]
    assert differences(tokenize_fast, reference.encode, texts) == []


def test_nasty_strings_have_openais_ids_in_every_way(tokenize, expected, reference):
    rng = seeded(1)
    texts = [random_text(rng, broken=False) for _ in range(3000)]
    assert differences(tokenize, expected, texts) == []
    broken = [random_text(rng, broken=True) for _ in range(3000)]
    assert differences(tokenize, reference.encode, broken) == []


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(st.text(max_size=30).map(lambda text: text.encode()), max_size=60))
def test_any_characters_have_openais_ids(tokenize_fast, expected, texts):
    assert differences(tokenize_fast, expected, texts) == []


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(texts=st.lists(st.binary(max_size=30), max_size=60))
def test_any_bytes_have_the_ids_of_the_reference(tokenize_fast, reference, texts):
    classes = character_classes()
    newer = regex.compile(r"[\p{L}\p{N}]")
    texts = [
        text
        for text in texts
        if all(
            bool(newer.match(c)) == (classes[ord(c)] in (LETTER, NUMBER))
            for c in text.decode("utf-8", "ignore")
        )
    ]
    assert differences(tokenize_fast, reference.encode, texts) == []


def test_no_text_and_empty_texts_have_no_ids(tokenize):
    assert tokenize([]) == []
    assert tokenize([b""]) == [[]]
    assert tokenize([b"", b"a", b"", b"", b" ", b""]) == [[], [64], [], [], [220], []]


def test_a_text_does_not_change_its_neighbours(tokenize, tokenize_fast):
    texts = [b"it'", b"s", b"a", b"a ", b" ", b"b", b"\xe2\x82", b"\xac", b"'", b"re"]
    alone = [tokenize_fast([text])[0] for text in texts]
    assert tokenize(texts) == alone


def test_a_megabyte_in_one_string_has_openais_ids(tokenize_fast, expected):
    rng = seeded(2)
    parts = rng.choices([*TEXTS.values(), "\n", " 'tis ", "1234 "], k=12_000)
    text = "".join(parts).encode()[:MEGABYTE].decode(errors="ignore").encode()
    assert len(text) > MEGABYTE - 4
    assert differences(tokenize_fast, expected, [text]) == []


@pytest.mark.parametrize("character", ["a", " ", ".", "=", "0", "\n", "é", "中", "😀", "\xa0", "'"])
def test_100000_repeats_of_one_character_have_openais_ids(character, tokenize_fast, openai):
    text = character * 100_000
    got = tokenize_fast([text.encode()])[0]
    assert openai.decode(got) == text
    short = [character * n for n in (*range(1, 70), 1000, 1001)]
    assert tokenize_fast([s.encode() for s in short]) == [openai.encode_ordinary(s) for s in short]
    assert got == openai.encode_ordinary(text)


def test_long_pre_tokens_that_merge_in_chains_have_the_ids_of_the_reference(tokenize, reference):
    rng = seeded(3)
    texts = [bytes(rng.choices(letters, k=rng.randint(50, 400))) for letters in _alphabets() * 6]
    assert differences(tokenize, reference.encode, texts) == []


def _alphabets():
    letters = [b"ab", b"aes", b"ing", b"the", b"rstlne", b"-=", b".", b" ", b"0123456789"]
    scripts = ["\n\t ", "ни", "のはい"]
    return [*letters, *map(str.encode, scripts), bytes(range(97, 123)), bytes(range(128, 256))]
