"""Conversations as prompts and completions."""

import gzip
import json

import pytest

from gpt2_keras.data import conversation_prompt, make_instruction_dataset, read_conversations
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.training.loss import IGNORED_TARGET

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


MESSAGE = r"one of system, user, assistant, .*Received: .*chats\.jsonl, line 2, message "


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, r"line 2, with None in field 'messages'; fields text\."),
        ({"messages": []}, r"line 2, with \[\] in field 'messages'; fields messages\."),
        ({"messages": "a"}, r"line 2, with 'a' in field 'messages'"),
        ({"messages": ["a"]}, MESSAGE + "1: 'a'"),
        (
            {"messages": [ASK, {"role": "tool", "content": ""}]},
            MESSAGE + "2: .*tool",
        ),
        ({"messages": [{"role": ["user"], "content": "a"}]}, MESSAGE + r"1: .*\['user'\]"),
        ({"messages": [{"role": "user", "content": None}]}, MESSAGE + "1: .*None"),
        ({"messages": [SYSTEM, ASK]}, r"chats\.jsonl, line 2, with the roles system, user\. Leave"),
        ([], r"chats\.jsonl, line 2, a JSON list"),
    ],
)
def test_a_row_that_is_no_conversation_is_refused(write, row, message):
    file = write({"messages": [ASK, ANSWER]}, row)
    examples = read_conversations([file])
    assert next(examples)["completion"] == " 2"
    with pytest.raises(ValueError, match=message):
        list(examples)


def test_a_table_is_refused(tmp_path):
    (tmp_path / "chats.csv").write_text("messages\n")
    with pytest.raises(ValueError, match=r"rows of JSONL files\. Received: .*chats\.csv\."):
        read_conversations([tmp_path / "chats.csv"])


def test_a_prompt_of_what_is_no_message_is_refused():
    with pytest.raises(ValueError, match=r"Received: `messages`, message 1: \{'role': 'me'\}"):
        conversation_prompt([{"role": "me"}])
