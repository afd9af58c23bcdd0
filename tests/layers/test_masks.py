import numpy as np

from gpt2_keras.layers.masks import (
    causal_mask,
    document_mask,
    document_positions,
    token_positions,
)


def test_no_query_attends_to_a_later_key_or_to_padding():
    padding = np.array([[True, True, True, True], [False, True, True, False]])
    mask = np.array(causal_mask(3, 4, first=1, padding_mask=padding))
    assert mask.shape == (2, 1, 3, 4)
    for row in range(2):
        for query in range(3):
            for key in range(4):
                assert mask[row, 0, query, key] == (key <= query + 1 and padding[row, key])


def test_a_document_attends_to_itself_alone_and_counts_from_zero():
    segments = np.array([[0, 0, 1, 1, 1], [0, 1, 2, 2, 2]])
    mask = document_mask(causal_mask(5, 5), segments)
    for row in range(2):
        for query in range(5):
            expected = [
                key <= query and segments[row, key] == segments[row, query] for key in range(5)
            ]
            assert np.array(mask)[row, 0, query].tolist() == expected
    positions = np.array(document_positions(mask))
    assert positions.tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 1, 2]]


def test_positions_begin_at_the_first_token_that_is_not_padding():
    padding = np.array([[False, False, True, True], [True, True, True, True]])
    assert np.array(token_positions(4, padding)).tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert np.array(token_positions(1, padding, 3)).tolist() == [[1], [3]]
    assert np.array(token_positions(2, cache_index=5)).tolist() == [[5, 6]]
