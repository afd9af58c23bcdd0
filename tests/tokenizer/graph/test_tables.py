"""The tables behind the in-graph tokenizer."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import regex

from gpt2_keras.tokenizer.graph.merge_tables import (
    NEVER,
    build_merge_tables,
    displace_rows,
    find_merges,
)
from gpt2_keras.tokenizer.graph.utf8 import FIRST_CONTINUATION, utf8_automaton
from gpt2_keras.tokenizer.graph.word_cache import build_word_table
from gpt2_keras.tokenizer.unicode_classes import (
    LETTER,
    NUMBER,
    UNICODE_VERSION,
    WHITE_SPACE,
    character_classes,
)
from tests.tokenizer.nasty import trained_vocabulary
from tests.tokenizer.reference_bpe import ReferenceTokenizer, read_gpt2
from tools.make_unicode_classes import ranges_of, table_text

BYTES = [bytes([value]) for value in range(256)]


@pytest.fixture(scope="module")
def gpt2_tables(gpt2_files):
    return build_merge_tables(*read_gpt2(gpt2_files))


def read_by_automaton(encoded):
    first, following = utf8_automaton()
    state = first[encoded[0]]
    for byte in encoded[1:]:
        column = byte - FIRST_CONTINUATION
        state = following[state, column if 0 <= column < 64 else 64]
    return state


def test_the_automaton_reads_every_character():
    classes = character_classes()
    several = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
    wrong = [c for c in several if read_by_automaton(chr(c).encode()) != 1 + classes[c]]
    assert wrong == []


def test_the_automaton_reads_what_python_decodes_and_nothing_else():
    continuations = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    for first in range(256):
        for rest in itertools.product(continuations, repeat=3):
            encoded = bytes([first, *rest])
            character = encoded.decode("utf-8", "ignore")[:1]
            is_valid = first >= 0x80 and encoded.startswith(character.encode())
            is_valid &= bool(character) and ord(character) >= 0x80
            assert (read_by_automaton(encoded) > 0) == is_valid, encoded


def test_the_table_is_what_tiktoken_reads():
    path = f"gpt2_keras/tokenizer/unicode_classes-{UNICODE_VERSION}.json"
    root = Path(__file__).resolve().parents[3]
    assert table_text(UNICODE_VERSION) == (root / path).read_text(encoding="utf-8")


def test_how_the_table_differs_from_the_regex_module():
    # `regex` follows a later Unicode: it knows more letters and numbers, and changes none.
    classes = character_classes()
    newer = np.zeros(0x110000, np.uint8)
    for value, pattern in ((LETTER, r"\p{L}"), (NUMBER, r"\p{N}"), (WHITE_SPACE, r"\s")):
        match = regex.compile(pattern).match
        newer[[c for c in range(0x110000) if match(chr(c))]] = value
    different = np.flatnonzero(newer != classes)
    print(len(different), ranges_of(different.tolist()))
    assert (classes[different] == 0).all()
    unassigned_then = [0x088F, 0x20C1, 0x11DB0, 0x323B0, 0x3347B]
    assert not classes[unassigned_then].any()
    assert classes[[0x1C89, 0xA7DA, 0x10D4A]].tolist() == [LETTER] * 3  # new in Unicode 16.0


def test_only_tabled_versions_of_unicode_are_read():
    with pytest.raises(ValueError, match=r"unicode_version='3.0.0'. Use one of .*16\.0\.0"):
        character_classes("3.0.0")


def test_displaced_rows_give_back_each_value_and_nothing_else():
    rng = np.random.default_rng(0)
    pairs = {(int(r), int(c)) for r, c in rng.integers(0, 50, (400, 2))}
    values = {pair: value for value, pair in enumerate(sorted(pairs), 1)}
    row_starts, columns, cells = displace_rows(values, 50)
    owner = {value: pair for pair, value in values.items()}
    assert len(owner) == len(values)
    for row in range(50):
        for column in range(50):
            cell = int(cells[row_starts[row] + columns[column]])
            if (row, column) in values:
                assert cell == values[row, column]
            else:
                assert cell == 0 or owner[cell][0] != row


def test_every_merge_of_gpt2_is_found_and_no_other(gpt2_tables, gpt2_files):
    _, merges, _ = read_gpt2(gpt2_files)
    symbols = np.zeros(50257, np.int32)
    symbols[gpt2_tables.token_ids[:-1]] = np.arange(len(gpt2_tables.token_ids) - 1)
    pairs = symbols[np.array(merges)]
    found = find_merges(gpt2_tables, pairs[:, 0], pairs[:, 1])
    np.testing.assert_array_equal(found, 256 + np.arange(50_000))
    known = {tuple(pair) for pair in pairs.tolist()}
    some = np.random.default_rng(1).choice(pairs.reshape(-1), (200_000, 2))
    strange = np.array([pair for pair in some.tolist() if tuple(pair) not in known], np.int32)
    assert (find_merges(gpt2_tables, strange[:, 0], strange[:, 1]) == NEVER).all()


def test_gpt2_is_ordered_and_all_its_tokens_encode_to_themselves(gpt2_tables):
    assert gpt2_tables.is_ordered
    np.testing.assert_array_equal(gpt2_tables.whole, 256 + np.arange(50_000))


def test_a_token_that_other_merges_come_before_is_not_whole():
    # bc merges before ab: abc is a + bc, so that the token of ab + c never comes to be.
    tokens = [*BYTES, b"bc", b"ab", b"abc"]
    tables = build_merge_tables(tokens, [(98, 99), (97, 98), (257, 99)], {})
    assert tables.is_ordered
    assert tables.whole.tolist() == [256, 257]


def test_which_tokens_are_whole_is_what_the_reference_says():
    for seed in range(4):
        tokens, merges = trained_vocabulary(seed, 700)
        tables = build_merge_tables(tokens, merges, {})
        merge = ReferenceTokenizer(tokens, merges).merge
        symbols = enumerate(tables.token_ids[:-1].tolist())
        whole = [symbol for symbol, i in symbols if symbol > 255 and merge(tokens[i]) == [i]]
        assert tables.whole.tolist() == whole
        assert len(whole) < 600


def test_a_merge_of_later_tokens_is_not_ordered():
    tokens = [*BYTES, b"ab", b"abc"]
    assert build_merge_tables(tokens, [(97, 98), (256, 99)], {}).is_ordered
    assert not build_merge_tables(tokens, [(256, 99), (97, 98)], {}).is_ordered
    assert not build_merge_tables(tokens, [(97, 98), (97, 98)], {}).is_ordered


def test_a_vocabulary_without_a_byte_is_refused():
    with pytest.raises(ValueError, match=r"each of the 256 bytes.*the byte 255.*Add it"):
        build_merge_tables(BYTES[:255], [], {})


def test_a_merge_without_an_id_is_refused():
    with pytest.raises(ValueError, match=r"in the vocabulary.*merges\[0\] makes b'ab'.*the same"):
        build_merge_tables(BYTES, [(97, 98)], {})


def test_a_merge_of_unknown_ids_is_refused():
    with pytest.raises(ValueError, match=r"merges\[0\]=\(97, 256\), 256 tokens.*the same"):
        build_merge_tables(BYTES, [(97, 256)], {})


def test_a_word_table_holds_the_tokens_of_up_to_15_bytes():
    table = build_word_table([b"a", b"a\0", b"fifteen bytes!!", b"sixteen bytes!!!"], [1, 2, 3, 4])
    assert sorted(set(table.rows[:, 2].tolist())) == [0, 1, 2, 3]


def test_words_fall_apart_only_where_no_merge_joins(gpt2_tables, gpt2_files):
    tokens, merges, _ = read_gpt2(gpt2_files)
    joined = {(tokens[left][-1], tokens[right][0]) for left, right in merges}
    assert {divmod(int(i), 256) for i in np.flatnonzero(gpt2_tables.joined)} == joined
