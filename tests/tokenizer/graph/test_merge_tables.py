"""The tables of the merges."""

import numpy as np
import pytest

from gpt2_keras.tokenizer.graph.merge_tables import (
    NEVER,
    build_merge_tables,
    displace_rows,
    find_merges,
)
from tests.tokenizer.nasty import trained_vocabulary
from tests.tokenizer.reference_bpe import ReferenceTokenizer, read_gpt2

BYTES = [bytes([value]) for value in range(256)]


@pytest.fixture(scope="module")
def gpt2_tables(gpt2_files):
    return build_merge_tables(*read_gpt2(gpt2_files))


def test_displaced_rows_have_each_value_and_no_other():
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
    symbols[gpt2_tables.symbols.token_ids[:-1]] = np.arange(len(gpt2_tables.symbols.token_ids) - 1)
    pairs = symbols[np.array(merges)]
    found = find_merges(gpt2_tables, pairs[:, 0], pairs[:, 1])
    np.testing.assert_array_equal(found, 256 + np.arange(50_000))
    known = {tuple(pair) for pair in pairs.tolist()}
    some = np.random.default_rng(1).choice(pairs.reshape(-1), (200_000, 2))
    strange = np.array([pair for pair in some.tolist() if tuple(pair) not in known], np.int32)
    assert (find_merges(gpt2_tables, strange[:, 0], strange[:, 1]) == NEVER).all()


def test_gpt2_is_ordered_and_all_its_tokens_encode_to_themselves(gpt2_tables):
    assert gpt2_tables.symbols.is_ordered
    np.testing.assert_array_equal(gpt2_tables.whole, 256 + np.arange(50_000))


def test_a_token_that_other_merges_come_before_is_not_whole():
    # bc merges before ab: abc is a + bc, so that the token of ab + c never comes to be.
    tokens = [*BYTES, b"bc", b"ab", b"abc"]
    tables = build_merge_tables(tokens, [(98, 99), (97, 98), (257, 99)], {})
    assert tables.symbols.is_ordered
    assert tables.whole.tolist() == [256, 257]


def test_which_tokens_are_whole_is_what_the_reference_says():
    for seed in range(4):
        tokens, merges = trained_vocabulary(seed, 700)
        tables = build_merge_tables(tokens, merges, {})
        merge = ReferenceTokenizer(tokens, merges).merge
        symbols = enumerate(tables.symbols.token_ids[:-1].tolist())
        whole = [symbol for symbol, i in symbols if symbol > 255 and merge(tokens[i]) == [i]]
        assert tables.whole.tolist() == whole
        assert len(whole) < 600
