"""Examples of tasks as prompts and completions: what a model learns is what the task asks."""

import json
from types import SimpleNamespace

import pytest

from gpt2_keras.applications import answer, summarize, translate
from gpt2_keras.applications.chat import Chat
from gpt2_keras.applications.task_rows import TaskRows, read_task_rows
from gpt2_keras.applications.training_examples import training_examples
from gpt2_keras.runs import TrainingSettings
from gpt2_keras.runs.task_data import make_task_datasets
from tests.models import CORPUS, text_model

CONTEXT = 96
MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "the cat?"},
    {"role": "assistant", "content": "sat."},
    {"role": "user", "content": " the dog? "},
    {"role": "assistant", "content": "on the log."},
]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=CONTEXT, num_layers=1)


def rows(task, *found):
    return TaskRows(task, tuple((f"f, line {i},", row) for i, row in enumerate(found, 1)))


def texts(model, examples):
    decode = model.tokenizer.decode
    return [(decode(each["prompt"]), decode(each["completion"])) for each in examples]


def test_prompts_are_those_of_the_tasks(model):
    one = rows("summarize", {"text": " One. Two. ", "summary": "One.\n"})
    found = texts(model, training_examples(model, one, CONTEXT))
    assert found == [(summarize(model, "One. Two.", max_new_tokens=4).prompt, " One.")]
    one = rows("translate", {"source": "the cat", "target": "le chat"})
    found = texts(model, training_examples(model, one, CONTEXT))
    assert found == [(translate(model, "the cat", max_new_tokens=4).prompt, " le chat")]
    two = rows(
        "answer",
        {"question": "who?", "answer": "it"},
        {"question": "who?", "answer": "it", "document": "it sat."},
    )
    found = texts(model, training_examples(model, two, CONTEXT))
    assert found == [
        (answer(model, "who?", max_new_tokens=4).prompt, " it"),
        (answer(model, "who?", document="it sat.", max_new_tokens=4).prompt, " it"),
    ]


def test_every_turn_of_the_assistant_is_an_example(model):
    found = texts(model, training_examples(model, rows("chat", {"messages": MESSAGES}), CONTEXT))
    talk = Chat(model, system="Be kind.", max_new_tokens=4)
    first = talk.ask("the cat?").prompt
    assert found[0] == (first, " sat.")
    talk = Chat(
        model, system="Be kind.", max_new_tokens=4,
        messages=[{**m, "content": m["content"]} for m in MESSAGES[1:3]],
    )  # fmt: skip
    assert found[1] == (talk.ask("the dog?").prompt, " on the log.")


def test_what_does_not_fit_is_cropped_as_the_task_crops_it(model):
    one = rows("summarize", {"text": CORPUS[0] * 20, "summary": "the cat sat."})
    (example,) = training_examples(model, one, CONTEXT)
    assert len(example["prompt"]) + len(example["completion"]) == CONTEXT
    prompt = model.tokenizer.decode(example["prompt"])
    assert prompt.endswith("\nTL;DR:")
    assert CORPUS[0].startswith(prompt[:20])
    many = []
    for number in range(20):
        many += [{"role": "user", "content": f"the cat {number}?"},
                 {"role": "assistant", "content": "sat on the mat."}]  # fmt: skip
    found = training_examples(model, rows("chat", {"messages": many}), CONTEXT)
    assert len(found) == 20
    for number, example in enumerate(found):
        assert len(example["prompt"]) + len(example["completion"]) <= CONTEXT
        prompt = model.tokenizer.decode(example["prompt"])
        assert prompt.startswith("User: the cat ")
        assert prompt.endswith(f"User: the cat {number}?\n\nAssistant:")
    assert found[2]["prompt"][:9] == found[0]["prompt"][:9]  # these fit
    assert "cat 0?" not in model.tokenizer.decode(found[-1]["prompt"])


def test_a_completion_too_long_and_a_message_too_long_are_errors(model):
    one = rows("summarize", {"text": "a", "summary": "the cat!" * 40})
    message = r"^f, line 1, has \d+ tokens to learn, more than half of context_length=96\. Shorten"
    with pytest.raises(ValueError, match=message):
        training_examples(model, one, CONTEXT)
    one = rows("answer", {"question": "the cat!" * 40, "answer": "a"})
    with pytest.raises(ValueError, match=r"^f, line 1, The prompt of `answer` has \d+ tokens"):
        training_examples(model, one, CONTEXT)
    long = [{"role": "user", "content": "the cat!" * 40}, {"role": "assistant", "content": "a"}]
    message = r"^f, line 1, message 1, has \d+ tokens with its template, and context_length=96"
    with pytest.raises(ValueError, match=message):
        training_examples(model, rows("chat", {"messages": long}), CONTEXT)


def test_files_are_read_in_every_form(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"question": "q", "answer": "a", "document": "d", "more": 1}) + "\n")
    found = read_task_rows("answer", file)
    assert found.rows[0][0] == f"{file}, line 1,"
    assert found.rows[0][1]["document"] == "d"
    table = tmp_path / "a.csv"
    table.write_text("label,text\nx,one\ny,two\n")
    found = read_task_rows("classify", table)
    assert [row for _, row in found.rows] == [
        {"text": "one", "label": "x"},
        {"text": "two", "label": "y"},
    ]
    training, validation = found.split(None)
    assert (len(training), len(validation)) == (1, 1)
    assert len(TaskRows("chat", found.rows * 10).split(0.25)[1]) == 5


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        (
            "summarize",
            {"text": "a"},
            r"line 1, has summary=None, not a text; its fields are text\. An",
        ),
        ("summarize", {"text": " ", "summary": "a"}, r"line 1, has text=' ', not a text"),
        ("translate", {"source": 3, "target": "a"}, r"line 1, has source=3, not a text"),
        ("answer", {"question": "a", "answer": "b", "document": 3}, r"has document=3, not a text"),
        ("chat", {"talk": []}, r"has messages=None, with no turn of the assistant to learn; its"),
        (
            "chat",
            {"messages": [{"role": "user", "content": "a"}]},
            r"with no turn of the assistant",
        ),
        ("chat", {"messages": [{"role": "bot", "content": "a"}]}, r"message 1, is .* Use a `role`"),
    ],
)
def test_wrong_rows_are_told(tmp_path, task, row, message):
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=message):
        read_task_rows(task, file)


def test_wrong_files_are_told(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text("")
    with pytest.raises(ValueError, match=r"a\.jsonl has no example\. Write one JSON object per"):
        read_task_rows("chat", file)
    table = tmp_path / "a.csv"
    table.write_text("messages\nx\n")
    with pytest.raises(
        ValueError, match=r"a\.csv is a csv file, and conversations are rows of JSONL"
    ):
        read_task_rows("chat", table)
    with pytest.raises(ValueError, match=r"^task='sing' is unknown\. Use one of 'summarize', "):
        read_task_rows("sing", file)
    one = rows("answer", {"question": "a", "answer": "b"})
    with pytest.raises(ValueError, match=r"^There is 1 example of 'answer', and one is needed to"):
        one.split(None)


def test_fewer_examples_than_devices_are_an_error(model):
    two = rows("answer", *[{"question": "a", "answer": "b"}] * 2)
    devices = SimpleNamespace(num_replicas=3)
    message = (
        r"^There are 1 examples to validate on, fewer than the 3 devices, and each needs one\."
    )
    with pytest.raises(ValueError, match=message):
        make_task_datasets(TrainingSettings("a", "b", task="answer"), two, model, 0, devices)
