"""Windows of tokens: what each epoch holds, in which order, and what is an error."""

import itertools
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2_keras.data import TokenShards, make_dataset, tensorflow_batches
from gpt2_keras.data.shuffling import mix, permute


def batches(tokens, count=None, **options):
    """The first batches of a dataset as pairs of arrays."""
    dataset = make_dataset(tokens, **options)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a, b)
        for pair, other in zip(first, second, strict=True)
        for a, b in zip(pair, other, strict=True)
    )


def test_targets_are_the_tokens_that_follow():
    for inputs, targets in batches(np.arange(100), 20, context_length=8, batch_size=3):
        assert inputs.shape == targets.shape == (3, 8)
        assert inputs.dtype == targets.dtype == np.int32
        np.testing.assert_array_equal(targets, inputs + 1)
        np.testing.assert_array_equal(np.diff(inputs), 1)


@settings(deadline=None)
@given(count=st.integers(1, 300), key=st.integers(0, 2**64 - 1))
def test_places_are_a_permutation(count, key):
    keys = np.full(count, key, np.uint64)
    permuted = permute(np.arange(count), keys, count)
    assert sorted(permuted.tolist()) == list(range(count))


def test_every_order_of_a_few_windows_occurs_about_as_often():
    count, trials = 4, 6000
    keys = np.repeat(mix(np.arange(trials, dtype=np.uint64)), count)
    numbers = np.tile(np.arange(count), trials)
    permuted = permute(numbers, keys, count).reshape(trials, count)
    orders, seen = np.unique(permuted, axis=0, return_counts=True)
    assert len(orders) == 24
    assert 150 < seen.min() <= seen.max() < 350  # 250 each, standard deviation 16


@settings(deadline=None, max_examples=25)
@given(
    num_tokens=st.integers(2, 60),
    context_length=st.integers(1, 9),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_epoch_shows_an_input_twice_and_only_the_ends_are_left_out(
    num_tokens, context_length, batch_size, seed
):
    if num_tokens <= context_length:
        return
    sizes = {"context_length": context_length, "batch_size": batch_size}
    epoch = batches(np.arange(num_tokens), seed=seed, repeat=False, **sizes)
    inputs = np.concatenate([inputs.ravel() for inputs, _ in epoch])
    assert len(set(inputs.tolist())) == len(inputs)
    assert num_tokens - len(inputs) <= max(2 * context_length, 1)
    assert np.concatenate([targets.ravel() for _, targets in epoch]).max() < num_tokens
    covered = np.sort(inputs)
    np.testing.assert_array_equal(covered, np.arange(covered[0], covered[0] + len(covered)))


def test_each_epoch_has_all_windows_in_an_order_of_its_own():
    starts = []  # of 4 epochs of 9 windows; batches run across their ends
    for inputs, _ in batches(np.arange(100), 18, context_length=10, batch_size=2, seed=5):
        starts += inputs[:, 0].tolist()
    epochs = [starts[i : i + 9] for i in range(0, 36, 9)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(min(epoch), 100 - 10, 10))[:9]
        assert epoch != sorted(epoch)
    assert len({min(epoch) for epoch in epochs}) > 1  # where windows begin varies
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 4


def test_order_is_decided_by_the_seed():
    options = {"count": 30, "context_length": 4, "batch_size": 2}
    tokens = np.arange(200)
    assert same(batches(tokens, seed=3, **options), batches(tokens, seed=3, **options))
    assert not same(batches(tokens, seed=3, **options), batches(tokens, seed=4, **options))


def test_the_order_is_the_same_in_every_version():
    first = batches(np.arange(1000), 2, context_length=10, batch_size=4, seed=1)
    assert [inputs[:, 0].tolist() for inputs, _ in first] == [
        [16, 586, 436, 456],
        [156, 566, 636, 426],
    ]


@pytest.mark.parametrize("step", [1, 23, 50])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"repeat": False}])
@pytest.mark.parametrize("tokens_per_call", [1, 24, 1024])
def test_a_later_start_gives_the_batches_that_were_left(
    monkeypatch, step, options, tokens_per_call
):
    monkeypatch.setattr(tensorflow_batches, "_TOKENS_PER_CALL", tokens_per_call)
    sizes = {"context_length": 4, "batch_size": 2, **options}
    tokens = np.arange(411)  # 101 or 102 windows: the last batch may be smaller
    whole = batches(tokens, 60, **sizes)
    assert same(batches(tokens, 60 - step, start_step=step, **sizes), whole[step:])


@pytest.mark.parametrize(
    "options",
    [
        {"start_step": 7},
        {"repeat": False},
        {"repeat": False, "shuffle": False, "start_step": 50},
        {"repeat": False, "drop_remainder": True},
        {"shard": (1, 2)},
    ],
)
def test_without_tensorflow_the_same_batches_come_in_the_same_order(monkeypatch, options):
    tokens, sizes = np.arange(411), {"context_length": 4, "batch_size": 2, **options}
    expected = batches(tokens, 60, **sizes)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    data = make_dataset(tokens, **sizes)
    assert isinstance(data, keras.utils.PyDataset)
    assert same(batches(tokens, 60, **sizes), expected)
    assert data.num_batches == (len(expected) if "repeat" in options else None)
    assert all(array.dtype == np.int32 for array in data[0])
    assert same(list(data.take(1).take(5).as_numpy_iterator()), expected[:1])


def test_far_steps_are_reached_at_once():
    (inputs, _), *_ = batches(np.arange(100), 1, context_length=8, batch_size=512, start_step=2**30)
    assert inputs.shape == (512, 8)


def test_without_shuffling_windows_come_in_the_order_of_the_text():
    found = batches(np.arange(12), context_length=3, batch_size=2, shuffle=False, repeat=False)
    assert [inputs.tolist() for inputs, _ in found] == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8]]]
    assert found[-1][1].tolist() == [[7, 8, 9]]
    full = batches(
        np.arange(12),
        context_length=3,
        batch_size=2,
        shuffle=False,
        repeat=False,
        drop_remainder=True,
    )
    assert same(full, found[:1])


@pytest.mark.parametrize("shuffle", [False, True])
def test_one_window_is_enough(shuffle):
    found = batches(
        np.array([5, 6, 7]), context_length=2, batch_size=1, shuffle=shuffle, repeat=False
    )
    assert same(found, [(np.array([[5, 6]]), np.array([[6, 7]]))])


def test_the_number_of_batches_is_known():
    sizes = {"context_length": 3, "batch_size": 2, "shuffle": False}
    tokens = np.arange(12)  # 3 windows
    assert make_dataset(tokens, **sizes).cardinality() == tf.data.INFINITE_CARDINALITY
    for options, count in (
        ({}, 2),
        ({"drop_remainder": True}, 1),
        ({"start_step": 1}, 1),
        ({"start_step": 2}, 0),
    ):
        dataset = make_dataset(tokens, repeat=False, **sizes, **options)
        assert dataset.cardinality() == count == len(list(dataset))


def test_shapes_are_static_where_every_batch_is_full():
    sizes = {"context_length": 3, "batch_size": 2}
    for options in ({}, {"repeat": False, "drop_remainder": True}):
        spec = make_dataset(np.arange(12), **sizes, **options).element_spec
        assert [part.shape.as_list() for part in spec] == [[2, 3], [2, 3]]
        assert [part.dtype for part in spec] == [tf.int32, tf.int32]
    spec = make_dataset(np.arange(12), repeat=False, shuffle=False, **sizes).element_spec
    assert spec[0].shape.as_list() == [None, 3]


def test_shards_and_their_parts_give_the_windows_of_the_same_array():
    whole = np.arange(500, dtype=np.uint16)
    tokens = TokenShards("nowhere", {}, np.split(whole, [100, 101, 350]))
    options = {"context_length": 16, "batch_size": 4, "count": 20}
    assert same(batches(tokens, **options), batches(whole, **options))
    train, validation = tokens.split(0.2)
    assert same(batches(train, **options), batches(whole[:400], **options))
    assert same(batches(validation, **options), batches(whole[400:], **options))


def test_tokens_are_read_as_they_are_needed():
    class Counted:
        read = 0

        def __len__(self):
            return 10**12

        def __getitem__(self, key):
            self.read += key.stop - key.start
            return np.zeros(key.stop - key.start, np.uint16)

    tokens = Counted()
    batches(tokens, 1, context_length=1024, batch_size=32)
    assert 0 < tokens.read < 10**7


@pytest.mark.parametrize("num_tokens", [0, 1, 8])
def test_too_few_tokens_are_an_error(num_tokens):
    with pytest.raises(ValueError, match=rf"^{num_tokens} tokens are too few .*context_length=8 "):
        make_dataset(np.arange(num_tokens), context_length=8, batch_size=1)


@pytest.mark.parametrize(
    ("name", "bad", "found"),
    [
        ("context_length", 0, "less than 1"),
        ("batch_size", 0, "less than 1"),
        ("start_step", -1, "less than 0"),
        ("seed", -1, "less than 0"),
        ("seed", 2**31, "greater than 2147483647"),
    ],
)
def test_a_number_out_of_its_range_is_an_error(name, bad, found):
    options = {"context_length": 2, "batch_size": 1, name: bad}
    with pytest.raises(ValueError, match=rf"^{name}={bad} is {found}\. Use an integer "):
        make_dataset(np.arange(9), **options)


@pytest.mark.parametrize("bad", [1.5, True, float("nan"), "1"])
@pytest.mark.parametrize("name", ["context_length", "batch_size", "start_step", "seed"])
def test_a_number_that_is_no_integer_is_an_error(name, bad):
    options = {"context_length": 2, "batch_size": 1, name: bad}
    found = rf"^{name}={bad!r} is a {type(bad).__name__}\. Use an integer "
    with pytest.raises(TypeError, match=found):
        make_dataset(np.arange(9), **options)


@pytest.mark.parametrize("name", ["shuffle", "repeat", "drop_remainder"])
def test_a_flag_that_is_no_bool_is_an_error(name):
    options = {"context_length": 2, "batch_size": 1, name: 1}
    with pytest.raises(TypeError, match=rf"^{name}=1 is an int\. Use True or False\."):
        make_dataset(np.arange(9), **options)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((2, 3), int), r"shape \(2, 3\) and dtype int64"),
        (np.zeros(9), r"shape \(9,\) and dtype float64"),
        ([1, 2, 3], r"^tokens=\[1, 2, 3\] is no source of tokens\."),
    ],
)
def test_an_array_that_is_no_row_of_ids_is_an_error(bad, message):
    with pytest.raises(TypeError, match=message):
        make_dataset(bad, context_length=2, batch_size=1)


def test_a_start_after_the_end_is_an_error():
    with pytest.raises(ValueError, match=r"^start_step=5 is after the last of 4 batches\."):
        make_dataset(
            np.arange(9),
            context_length=2,
            batch_size=1,
            shuffle=False,
            repeat=False,
            start_step=5,
        )


@pytest.mark.parametrize("parts", [2, 3])
def test_the_parts_of_workers_are_one_batch_together(parts):
    tokens, sizes = np.arange(100), {"context_length": 4, "batch_size": 6, "start_step": 2}
    whole = batches(tokens, 5, **sizes)
    shards = [batches(tokens, 5, shard=(part, parts), **sizes) for part in range(parts)]
    for step, (inputs, targets) in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([s[step][0] for s in shards]), inputs)
        np.testing.assert_array_equal(np.concatenate([s[step][1] for s in shards]), targets)


def test_a_part_reads_its_own_rows_only():
    read = []

    class Tokens:
        def __len__(self):
            return 1000

        def __getitem__(self, window):
            read.append(window.start)
            return np.arange(window.start, window.stop)

    sizes = {"context_length": 4, "batch_size": 6, "shuffle": False, "repeat": False}
    data = make_dataset(Tokens(), drop_remainder=True, shard=(1, 2), **sizes)
    list(data.take(2))
    rows = {start // 4 for start in read}
    assert {3, 4, 5, 9, 10, 11} <= rows
    assert {row % 6 for row in rows} == {3, 4, 5}


def test_a_batch_of_unequal_parts_is_an_error():
    sizes = {"context_length": 4, "batch_size": 6}
    with pytest.raises(
        ValueError, match=r"^shard=\(0, 4\) does not divide a batch of 6 rows into 4 "
    ):
        make_dataset(np.arange(100), shard=(0, 4), **sizes)
    with pytest.raises(
        ValueError, match=r"^shard=\(0, 2\) does not divide a batch of 3 rows into 2 "
    ):
        make_dataset(np.arange(39), shard=(0, 2), repeat=False, shuffle=False, **sizes)
    with pytest.raises(ValueError, match=r"^shard\[0\]=2 is greater than 1\."):
        make_dataset(np.arange(100), shard=(2, 2), **sizes)
