"""The commands of the applications: summarize, translate, answer, classify, chat."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from gpt2_keras.applications import answer, chat, classify, summarize, translate
from gpt2_keras.cli.main import main
from gpt2_keras.finetuning import GPT2Classifier
from tests.models import CORPUS, text_model

ARTICLE = CORPUS[0] * 20


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=96, num_layers=1)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    home = tmp_path_factory.mktemp("applications")
    model.save_to_preset(home / "model")
    GPT2Classifier(model, ["dull", "fine"]).save_to_preset(home / "classifier")
    (home / "article.txt").write_text(ARTICLE)
    (home / "pairs.jsonl").write_text('{"source": "a", "target": "b"}\n')
    (home / "questions.csv").write_text("question,answer\nwho?,it.\n")
    (home / "labels.jsonl").write_text('{"text": "the cat", "label": "sat"}\n')
    return home


def say(monkeypatch, text):
    """Sends a text to standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_summaries_of_words_and_files_are_printed(model, folder, capsys):
    words = ["summarize", "--model", str(folder / "model"), "--seed", "3", "--max-new-tokens", "8"]
    assert main([*words, "the cat", "--file", str(folder / "article.txt")]) == 0
    printed = capsys.readouterr()
    expected = summarize(model, ["the cat", ARTICLE], max_new_tokens=8, seed=3)
    assert printed.out == "".join(f"{each.text}\n" for each in expected)
    count = len(expected[1].cropped)
    assert printed.err.startswith(f"text 2: {count} characters did not fit into the context")


def test_json_has_prompts_and_log_probabilities(model, folder, monkeypatch, capsys):
    say(monkeypatch, "the dog")
    words = ["translate", "--model", str(folder / "model"), "--max-new-tokens", "6", "--json"]
    assert main([*words, "--examples", str(folder / "pairs.jsonl")]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    expected = translate(model, "the dog", examples=[("a", "b")], max_new_tokens=6)
    assert row == {
        "text": expected.text,
        "prompt": "a = b\nthe dog =",
        "cropped": "",
        "log_prob": pytest.approx(expected.log_prob),
    }


def test_questions_are_answered_about_a_document(model, folder, capsys):
    words = ["answer", "--model", str(folder / "model"), "--max-new-tokens", "6", "--json"]
    files = ["--document", str(folder / "article.txt"), "--examples", str(folder / "questions.csv")]
    assert main([*words, *files, "who sat?", "why?"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = answer(
        model, ["who sat?", "why?"], document=ARTICLE, history=[("who?", "it.")], max_new_tokens=6
    )
    assert [row["text"] for row in rows] == [each.text for each in expected]
    assert [row["prompt"] for row in rows] == [each.prompt for each in expected]


def test_sampling_flags_are_followed(model, folder, capsys):
    words = ["answer", "--model", str(folder / "model"), "who?", "--max-new-tokens", "6"]
    assert main([*words, "--temperature", "1.5", "--top-k", "9", "--seed", "4"]) == 0
    from gpt2_keras.generation import Sampler

    expected = answer(
        model, "who?", max_new_tokens=6, sampler=Sampler(temperature=1.5, top_k=9), seed=4
    )
    assert capsys.readouterr().out == f"{expected.text}\n"


def test_labels_are_found_by_a_language_model(model, folder, capsys):
    words = ["classify", "--model", str(folder / "model"), "--label", "sat", "--label", "the dog"]
    files = ["--examples", str(folder / "labels.jsonl"), "--text-name", "Review"]
    texts = [f"the cat {i}" for i in range(9)]  # more than are answered together
    assert main([*words, *files, *texts]) == 0
    expected = classify(
        model, texts, ["sat", "the dog"], examples=[("the cat", "sat")], text_name="Review"
    )
    assert capsys.readouterr().out.splitlines() == [each.label for each in expected]
    assert main([*words, "--no-calibration", "--json", "the cat"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    plain = classify(model, "the cat", ["sat", "the dog"], calibrate=False)
    assert row["label"] == plain.label
    assert row["probabilities"] == pytest.approx(plain.probabilities)


def test_labels_are_found_by_a_classifier(folder, capsys):
    classifier = GPT2Classifier.from_preset(folder / "classifier")
    words = ["classify", "--model", str(folder / "classifier"), "--json", "the cat", ARTICLE]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in rows] == classifier.classify(["the cat", ARTICLE])
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    assert rows[0]["cropped"] == ""
    assert rows[1]["cropped"] + rows[1]["prompt"] == ARTICLE


def test_a_conversation_is_read_from_a_pipe(model, folder, tmp_path, monkeypatch, capsys):
    file = tmp_path / "talk.jsonl"
    say(monkeypatch, f"the cat\n\nthe dog\n/undo\n/save {file}\n/quit\nno more\n")
    words = ["chat", "--model", str(folder / "model"), "--max-new-tokens", "5", "--json"]
    assert main([*words, "--seed", "2", "--temperature", "1"]) == 0
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in printed.out.splitlines()]
    from gpt2_keras.generation import Sampler

    talk = chat.Chat(model, max_new_tokens=5, sampler=Sampler(), seed=2)
    replies = [talk.ask("the cat"), talk.ask("the dog")]
    assert [row["text"] for row in rows] == [reply.text for reply in replies]
    assert [row["finish_reason"] for row in rows] == [r.finish_reason for r in replies]
    assert printed.err == f"forgotten\nwrote {file}\n"
    talk.undo()
    assert json.loads(file.read_text()) == {"messages": talk.messages}


def test_commands_of_a_conversation(model, folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("x")
    say(monkeypatch, f"/undo\n/help\n/reset\n/save {tmp_path / 'taken'}\n/dance\n{'cat ' * 99}\n")
    assert main(["chat", "--model", str(folder / "model")]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0] == "nothing to forget"
    assert lines[1].startswith("/undo ")
    assert lines[5] == "forgotten"
    assert lines[6].startswith("error: ")
    assert lines[7] == "/dance is no command"
    assert lines[-1].startswith("error: message has ")
    assert (tmp_path / "taken").read_text() == "x"


def test_ctrl_c_stops_an_answer_and_not_the_program(folder, monkeypatch, capsys):
    """The third delta is interrupted; what was said stays in the conversation."""
    following, count = chat.AnswerStream.__next__, iter(range(99))

    def interrupted(self):
        if next(count) == 2:
            raise KeyboardInterrupt
        return following(self)

    monkeypatch.setattr(chat.AnswerStream, "__next__", interrupted)
    say(monkeypatch, "the cat\nthe dog\n")
    words = ["chat", "--model", str(folder / "model"), "--max-new-tokens", "8", "--json"]
    assert main([*words, "--seed", "1", "--temperature", "1"]) == 0
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(first["text"]) < len(second["text"]) + 8
    assert second["finish_reason"] == "length"


def test_ctrl_c_while_a_message_is_read_leaves_the_conversation_as_it_was(
    model, folder, monkeypatch, capsys
):
    stream, count = chat.Chat.stream, iter(range(9))

    def interrupted(self, message):
        if next(count) == 0:
            raise KeyboardInterrupt
        return stream(self, message)

    monkeypatch.setattr(chat.Chat, "stream", interrupted)
    say(monkeypatch, "the cat\nthe dog\n")
    words = ["chat", "--model", str(folder / "model"), "--max-new-tokens", "5", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "(not answered)" in printed.err
    (row,) = [json.loads(line) for line in printed.out.splitlines()]
    assert row["text"] == chat.Chat(model, max_new_tokens=5).ask("the dog").text


def test_ctrl_c_at_the_prompt_says_how_to_end_and_ctrl_d_ends(folder):
    main_end, their_end = pty.openpty()
    program = [sys.executable, "-m", "gpt2_keras.cli.main", "chat"]
    process = subprocess.Popen(
        [*program, "--model", str(folder / "model"), "--max-new-tokens", "4"],
        stdin=their_end, stdout=their_end, stderr=their_end, start_new_session=True,
    )  # fmt: skip
    os.close(their_end)
    shown = read_until(main_end, b"> ")
    assert b"Ctrl-C stops an answer, Ctrl-D ends; /help shows more." in shown
    os.write(main_end, b"the cat\n")
    read_until(main_end, b"> ")
    # Again until it is noticed: one just before readline waits is seen with the next key.
    shown = b""
    while b"(Ctrl-D or /quit ends)" not in shown:
        process.send_signal(signal.SIGINT)
        shown += read_until(main_end, b"> ", seconds=2)
    os.write(main_end, b"\x04")
    assert process.wait(60) == 0
    os.close(main_end)


def read_until(descriptor, end, seconds=120):
    """What a program shows up to an end, or within a time."""
    found, deadline = b"", time.monotonic() + seconds
    while not found.endswith(end) and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            found += os.read(descriptor, 4096)
    return found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["classify", "--model", "MODEL", "a"], "the following arguments are required: --label"),
        (
            ["summarize", "--model", "MODEL", "--num-sentences", "-1", "a"],
            "argument --num-sentences",
        ),
        (["chat", "--model", "MODEL", "--format", "json"], "argument --format: invalid choice"),
        (
            ["classify", "--model", "CLASSIFIER", "--label", "a", "b"],
            "--label and --examples are for a language model, and ",
        ),
        (
            [
                "export",
                "--model",
                "MODEL",
                "--format",
                "litert",
                "--out",
                "x",
                "--task",
                "classify",
            ],
            "--task classify needs --label NAME, at least two of them",
        ),
        (
            ["export", "--model", "MODEL", "--format", "litert", "--out", "x", "--system", "a"],
            "argument --system: only of --task chat",
        ),
        (
            ["export", "--model", "M", "--format", "litertlm", "--out", "x", "--task", "summarize"],
            "argument --task: not an option of litertlm, only of tf_saved_model and litert",
        ),
    ],
)
def test_wrong_usage_exits_with_2(folder, words, message, capsys):
    names = {"MODEL": str(folder / "model"), "CLASSIFIER": str(folder / "classifier")}
    with pytest.raises(SystemExit) as stopped:
        main([names.get(word, word) for word in words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["summarize", "--file", "none.txt"], "error: none.txt does not exist."),
        (["summarize", " "], "error: text=' ' is empty. `summarize` needs a text"),
        (["translate", "a", "--examples", "ARTICLE"], "line 1, is not JSON"),
        (["answer", "a", "--document", "none"], "error: none does not exist."),
        (["classify", "--label", "x", "a"], "has 1 of them, and there must be at least two"),
        (["chat", "--format", "dialogpt", "--system", "a"], "which has no place for it."),
    ],
)
def test_bad_input_exits_with_1(folder, words, message, capsys):
    words = [str(folder / "article.txt") if word == "ARTICLE" else word for word in words]
    assert main([*words, "--model", str(folder / "model")]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.slow
def test_a_task_is_exported_and_answers(model, folder, tmp_path, capsys):
    import tensorflow as tf

    words = ["export", "--model", str(folder / "model"), "--format", "tf_saved_model"]
    task = ["--task", "classify", "--label", "sat", "--label", "the dog"]
    examples = ["--examples", str(folder / "labels.jsonl")]
    assert main([*words, *task, *examples, "--out", str(tmp_path / "serving")]) == 0
    assert "answers that differ 0" in capsys.readouterr().out
    loaded = tf.saved_model.load(str(tmp_path / "serving" / "1"))
    found = loaded.signatures["classify"](text=tf.constant(["the cat"]))
    expected = classify(model, "the cat", ["sat", "the dog"], examples=[("the cat", "sat")])
    assert found["text"].numpy()[0].decode() == expected.label
