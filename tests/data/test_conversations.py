"""Conversations as prompts and completions."""

import gzip
import json

import pytest

from gpt2_keras.data import conversation_prompt, make_instruction_dataset, read_conversations
from gpt2_keras.data.batch_plan import IGNORED_TARGET
from gpt2_keras.tokenizer import GPT2Tokenizer

SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "What is 1 + 1?"}
ANSWER = {"role": "assistant", "content": "2"}
AGAIN = {"role": "user", "content": "And 2 + 2?"}
LAST = {"role": "assistant", "content": "4", "name": "passed over"}


@pytest.fixture
def write(tmp_path):
    """Writes rows; returns the file."""

    def make(*rows):
        file = tmp_path / "chats.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return make


def test_each_turn_of_the_assistant_is_a_completion_of_all_before_it(write):
    file = write({"messages": [SYSTEM, ASK, ANSWER, AGAIN, LAST], "id": 7})
    first = "System: Be brief.\n\nUser: What is 1 + 1?\n\nAssistant:"
    second = first + " 2\n\nUser: And 2 + 2?\n\nAssistant:"
    assert list(read_conversations([file])) == [
        {"prompt": first, "completion": " 2"},
        {"prompt": second, "completion": " 4"},
    ]


def test_a_model_is_asked_with_the_prompts_it_was_trained_on(write):
    file = write({"messages": [SYSTEM, ASK, ANSWER, AGAIN, LAST]})
    prompts = [example["prompt"] for example in read_conversations([file])]
    assert prompts == [
        conversation_prompt([SYSTEM, ASK]),
        conversation_prompt([SYSTEM, ASK, ANSWER, AGAIN]),
    ]


def test_only_what_the_assistant_says_and_its_end_are_learned(write):
    file = write({"messages": [ASK, ANSWER, AGAIN, LAST]})
    tokenizer = GPT2Tokenizer.train([f"{ASK} {AGAIN}"], vocab_size=280)
    data = make_instruction_dataset(
        read_conversations([file]),
        tokenizer,
        context_length=96,
        batch_size=2,
        shuffle=False,
        repeat=False,
    )
    ((token_ids, targets),) = data.as_numpy_iterator()
    learned = [tokenizer.decode(row[row != IGNORED_TARGET].tolist()) for row in targets]
    assert learned == [" 2<|endoftext|>", " 4<|endoftext|>"]
    whole = "User: What is 1 + 1?\n\nAssistant: 2\n\nUser: And 2 + 2?\n\nAssistant: 4<|endoftext|>"
    assert tokenizer.decode(token_ids[1].tolist()).startswith(whole)


def test_another_field_and_compressed_files_are_read(tmp_path):
    file = tmp_path / "chats.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"turns": [ASK, ANSWER]}).encode()))
    (example,) = read_conversations([file], messages_field="turns")
    assert example["completion"] == " 2"


RULE = r" Use a `role`, one of system, user, assistant, and a text as its `content`\."


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "a"},
            r"line 2, has None in field 'messages', not a list of messages; its fields are text\.",
        ),
        (
            {"messages": []},
            r"line 2, has \[\] in field 'messages', not a list .*; its fields are messages\.",
        ),
        ({"messages": "a"}, r"line 2, has 'a' in field 'messages', not a list"),
        ({"messages": ["a"]}, r"chats\.jsonl, line 2, message 1, is 'a'\." + RULE),
        (
            {"messages": [ASK, {"role": "tool", "content": ""}]},
            r"chats\.jsonl, line 2, message 2, is \{'role': 'tool', 'content': ''\}\." + RULE,
        ),
        ({"messages": [{"role": ["user"], "content": "a"}]}, r"message 1, is .*\['user'\]"),
        ({"messages": [{"role": "user", "content": None}]}, r"message 1, is .*None\}\." + RULE),
        ({"messages": [SYSTEM, ASK]}, r"chats\.jsonl, line 2, has only the roles system, user, "),
        ([], r"chats\.jsonl, line 2, is \[\], not a JSON object\."),
    ],
)
def test_a_row_that_is_no_conversation_is_an_error(write, row, message):
    file = write({"messages": [ASK, ANSWER]}, row)
    examples = read_conversations([file])
    assert next(examples)["completion"] == " 2"
    with pytest.raises(ValueError, match=message):
        list(examples)


def test_a_csv_file_of_conversations_is_an_error(tmp_path):
    (tmp_path / "chats.csv").write_text("messages\n")
    with pytest.raises(ValueError, match=r"chats\.csv is a csv file, and conversations are rows"):
        read_conversations([tmp_path / "chats.csv"])


@pytest.mark.parametrize(
    ("messages", "error", "message"),
    [
        ([{"role": "me"}], ValueError, r"^messages\[0\] is \{'role': 'me'\}\." + RULE),
        ([ASK, "hi"], TypeError, r"^messages\[1\]='hi' .*Use a dict of role and content\."),
        ("hi", TypeError, r"^messages='hi' .*Use a list of messages\."),
    ],
)
def test_a_prompt_is_made_of_messages_alone(messages, error, message):
    with pytest.raises(error, match=message):
        conversation_prompt(messages)
