"""Prompts and completions as batches."""

import json

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.data import make_instruction_dataset, read_examples
from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.tokenizer import GPT2Tokenizer

EXAMPLES = [
    {"prompt": f"Question {number}?", "completion": " yes" * (number % 4 + 1)}
    for number in range(11)
]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [text for example in EXAMPLES for text in example.values()]
    return GPT2Tokenizer.train(texts, vocab_size=275)


def rows(examples, tokenizer, *, take=None, **options):
    """Returns the batches as NumPy pairs."""
    options = {"context_length": 24, "batch_size": 3, "repeat": False, **options}
    data = make_instruction_dataset(examples, tokenizer, **options)
    return list((data if take is None else data.take(take)).as_numpy_iterator())


def test_only_the_completion_and_its_end_are_targets(tokenizer):
    ((token_ids, targets),) = rows(EXAMPLES[:2], tokenizer, shuffle=False)
    end = tokenizer.end_token_id
    for example, inputs, learned in zip(EXAMPLES, token_ids, targets, strict=False):
        prompt = tokenizer.encode(example["prompt"])
        answer = [*tokenizer.encode(example["completion"]), end]
        expected = [IGNORED_TARGET] * (len(prompt) - 1) + answer
        expected += [IGNORED_TARGET] * (24 - len(expected))
        assert learned.tolist() == expected
        whole = prompt + answer[:-1]
        assert inputs.tolist() == whole + [end] * (24 - len(whole))
    assert (token_ids.dtype, targets.dtype) == (np.int32, np.int32)


def test_an_empty_prompt_begins_with_the_end_of_text(tokenizer):
    ((token_ids, targets),) = rows([{"prompt": "", "completion": "yes"}], tokenizer)
    answer = [*tokenizer.encode("yes"), tokenizer.end_token_id]
    assert token_ids[0, 0] == tokenizer.end_token_id
    assert targets[0, : len(answer)].tolist() == answer


def test_every_example_comes_once_in_an_epoch_in_an_order_of_its_own(tokenizer):
    data = rows(EXAMPLES, tokenizer, repeat=True, batch_size=11, take=3, seed=5)
    epochs = [[row.tobytes() for row in token_ids] for token_ids, _ in data]
    assert all(len(set(epoch)) == 11 for epoch in epochs)
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    again = rows(EXAMPLES, tokenizer, repeat=True, batch_size=11, take=1, seed=6)
    assert [row.tobytes() for row in again[0][0]] != epochs[0]


@pytest.mark.parametrize("options", [{"repeat": True}, {"shuffle": False}, {}])
def test_a_later_start_gives_the_batches_that_were_left(tokenizer, options):
    take = 9 if options.get("repeat") else None
    whole = rows(EXAMPLES, tokenizer, take=take, **options)
    for start in (1, 3):
        later = rows(EXAMPLES, tokenizer, take=take and take - start, start_step=start, **options)
        assert len(later) == len(whole) - start
        for (ids, targets), (other_ids, other_targets) in zip(whole[start:], later, strict=True):
            np.testing.assert_array_equal(ids, other_ids)
            np.testing.assert_array_equal(targets, other_targets)


def test_the_number_of_batches_is_known(tokenizer):
    def count(**options):
        data = make_instruction_dataset(
            EXAMPLES, tokenizer, context_length=24, batch_size=3, **options
        )
        return data.cardinality().numpy()

    assert count() == tf.data.INFINITE_CARDINALITY
    assert count(repeat=False) == 4
    assert count(repeat=False, drop_remainder=True) == 3
    assert count(repeat=False, start_step=1) == 3


def test_an_example_that_is_too_long_is_an_error_truncated_or_skipped(tokenizer):
    long = {"prompt": "Question 1?", "completion": " yes" * 40}
    with pytest.raises(
        ValueError, match=r"^examples\[1\] has \d\d tokens, \d+ of .*context_length=24\."
    ):
        rows([EXAMPLES[0], long], tokenizer)
    assert rows([EXAMPLES[0], long], tokenizer, too_long="skip")[0][0].shape == (1, 24)
    ((token_ids, targets),) = rows([long], tokenizer, too_long="truncate")
    ids = tokenizer.encode(long["prompt"]) + tokenizer.encode(long["completion"])
    assert token_ids[0].tolist() == ids[:24]
    assert targets[0, -1] == ids[24]
    with pytest.raises(
        ValueError, match=r"^examples\[0\] has \d\d tokens, \d\d of them the prompt's"
    ):
        rows([{"prompt": long["completion"], "completion": "x"}], tokenizer, too_long="truncate")


def test_an_example_that_just_fits_is_whole(tokenizer):
    example = EXAMPLES[3]
    size = sum(len(tokenizer.encode(text)) for text in example.values()) + 1
    ((_, targets),) = rows([example], tokenizer, context_length=size - 1)
    assert targets[0, -1] == tokenizer.end_token_id
    with pytest.raises(ValueError, match=rf"^examples\[0\] has {size} tokens"):
        rows([example], tokenizer, context_length=size - 2)


def test_examples_are_read_from_rows_of_files(tmp_path):
    lines = [json.dumps({"q": e["prompt"], "a": e["completion"]}) for e in EXAMPLES]
    for name in ("a.jsonl", "data"):
        (tmp_path / name).write_text("\n".join(lines))
        found = read_examples([tmp_path / name], prompt_field="q", completion_field="a")
        assert list(found) == EXAMPLES
    (tmp_path / "a.csv").write_text("id,completion,prompt\n1,b,a\n")
    assert list(read_examples([tmp_path / "a.csv"])) == [{"prompt": "a", "completion": "b"}]
    with pytest.raises(
        ValueError, match=r"line 1, has nothing in field 'prompt', not text; its fields are q, a\."
    ):
        list(read_examples([tmp_path / "a.jsonl"]))


@pytest.mark.parametrize(
    ("examples", "options", "error", "message"),
    [
        ([{"prompt": "a"}], {}, TypeError, r"^examples\[0\]=\{'prompt': 'a'\} lacks a text"),
        (
            [{"prompt": 5, "completion": "a"}],
            {},
            TypeError,
            r"^examples\[0\]=\{'prompt': 5, .*lacks a text",
        ),
        ([], {}, ValueError, r"No example is left, with context_length=24 and too_long='error'"),
        ("ab", {}, TypeError, r"^examples\[0\]='a' is a str\. Use a dict of prompt"),
        (5, {}, TypeError, r"^examples=5 .*Use a list of dicts of prompt and completion\."),
        (EXAMPLES, {"too_long": "cut"}, ValueError, r"^too_long='cut' .*'truncate', 'skip'\."),
        (EXAMPLES, {"context_length": 0}, ValueError, r"^context_length=0 is less than 1\."),
        (EXAMPLES, {"batch_size": 0}, ValueError, r"^batch_size=0 is less than 1\."),
        (EXAMPLES, {"seed": -1}, ValueError, r"^seed=-1 is less than 0\."),
        (EXAMPLES, {"batch_size": True}, TypeError, r"^batch_size=True .* bool\."),
        (EXAMPLES, {"context_length": 8.0}, TypeError, r"^context_length=8\.0 .* float\."),
        (EXAMPLES, {"seed": float("nan")}, TypeError, r"^seed=nan .* float\."),
        (EXAMPLES, {"shuffle": 1}, TypeError, r"^shuffle=1 .* int\."),
        (
            EXAMPLES,
            {"start_step": 5},
            ValueError,
            r"^start_step=5 is after the last of 4 batches\.",
        ),
    ],
)
def test_a_wrong_argument_is_an_error(tokenizer, examples, options, error, message):
    with pytest.raises(error, match=message):
        rows(examples, tokenizer, **options)
