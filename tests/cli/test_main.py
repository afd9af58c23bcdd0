import subprocess
import sys

import pytest

from gpt2_keras.cli import generate
from gpt2_keras.cli.main import COMMANDS, main
from gpt2_keras.version import __version__
from tests.models import text_model


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    text_model(context_length=64).save_to_preset(path)
    return str(path)


def usage_error(capsys, *words):
    """The last line that a wrong usage prints; its exit status is 2."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"gpt2-keras {command}" in capsys.readouterr().out.split("Example:")[1]


def test_the_installed_program_says_its_version():
    program = [sys.executable, "-m", "gpt2_keras.cli.main", "--version"]
    assert subprocess.run(program, capture_output=True, text=True).stdout.strip() == __version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "gpt2-keras: error: the following arguments are required: COMMAND"),
        (["fly"], "gpt2-keras: error: argument COMMAND: invalid choice: 'fly'"),
        (
            ["generate", "--model", "m", "--max-new-tokens", "0"],
            "gpt2-keras generate: error: argument --max-new-tokens: "
            "expected an integer of at least 1, got 0",
        ),
        (
            ["generate", "--model", "m", "--temperature", "-1"],
            "gpt2-keras generate: error: argument --temperature: "
            "expected a number of at least 0, got -1",
        ),
        (
            ["generate", "--model", "m", "--top-p", "1.5"],
            "gpt2-keras generate: error: argument --top-p: "
            "expected a number above 0 and at most 1, got 1.5",
        ),
        (
            ["generate", "--model", "m", "--top-p", "many"],
            "gpt2-keras generate: error: argument --top-p: "
            "expected a number above 0 and at most 1, got 'many'",
        ),
        (
            ["generate", "--model", "m", "--seed", "x"],
            "gpt2-keras generate: error: argument --seed: expected an integer, got 'x'",
        ),
        (
            ["export", "--model", "m", "--out", "o", "--format", "onnx"],
            "gpt2-keras export: error: argument --format: invalid choice: 'onnx'",
        ),
        (
            ["export", "--model", "m", "--out", "o", "--format", "litert", "--max-new-tokens", "3"],
            "gpt2-keras export: error: argument --max-new-tokens: not an option of litert, "
            "only of tf_saved_model",
        ),
    ],
)
def test_a_wrong_usage_is_told_in_one_line(words, message, capsys):
    assert usage_error(capsys, *words).startswith(message)


def test_a_failure_is_told_without_a_traceback(tmp_path, capsys):
    assert main(["generate", "--model", str(tmp_path), "hello"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gpt2-keras generate: error: There is no checkpoint at ")
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (OSError("no space"), 1), (TypeError(), 1)]
)
def test_what_ends_a_command_sets_the_exit_status(monkeypatch, capsys, error, status):
    def stop(args):
        raise error

    monkeypatch.setattr(generate, "run", stop)
    assert main(["generate", "--model", "m"]) == status
    assert capsys.readouterr().err.startswith("gpt2-keras generate: ")


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setattr(generate, "run", lambda args: [].missing)
    with pytest.raises(AttributeError):
        main(["generate", "--model", "m"])


def test_generate_prints_prompt_and_continuation(model_directory, capsys):
    words = ["generate", "--model", model_directory, "--max-new-tokens", "8"]
    assert main([*words, "the cat", "a dog"]) == 0
    printed = capsys.readouterr()
    texts = text_model(context_length=64).generate(["the cat", "a dog"], max_new_tokens=8)
    assert printed.out == f"{texts[0]}\n---\n{texts[1]}\n"
    assert printed.err.count("tokens/s on") == 2


def test_generate_prints_json_for_programs(model_directory, capsys):
    import json

    words = ["generate", "--model", model_directory, "--json", "--max-new-tokens", "8", "the"]
    assert main([*words, "--top-k", "5", "--num-return-sequences", "2", "--seed", "1"]) == 0
    texts = json.loads(capsys.readouterr().out)
    model = text_model(context_length=64)
    settings = {"top_k": 5, "seed": 1, "num_return_sequences": 2}
    assert texts == model.generate(["the"], max_new_tokens=8, **settings)


def test_generate_asks_when_interactive(model_directory, capsys, monkeypatch):
    answers = iter(["the cat", "é"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers, None) or eof())

    def eof():
        raise EOFError

    words = ["generate", "--model", model_directory, "--interactive", "--max-new-tokens", "4"]
    assert main(words) == 0
    texts = text_model(context_length=64).generate(["the cat", "é"], max_new_tokens=4)
    assert capsys.readouterr().out == f"{texts[0]}\n---\n{texts[1]}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--interactive", "prompt"], "error: --interactive was given with a prompt or --json. "),
        (
            ["--num-return-sequences", "2"],
            "error: --num-return-sequences 2 asks for several texts of greedy",
        ),
        (["--max-new-tokens", "64"], "--max-new-tokens 64 after a prefix of 0 tokens leave no"),
    ],
)
def test_flags_that_contradict_each_other_are_an_error(model_directory, words, message, capsys):
    assert main(["generate", "--model", model_directory, *words]) == 1
    assert message in capsys.readouterr().err


def test_what_a_backend_cannot_do_is_no_traceback(monkeypatch, capsys):
    def fail(args):
        raise RuntimeError("Text is generated on TensorFlow. Received: jax. Unset KERAS_BACKEND.")

    monkeypatch.setattr("gpt2_keras.cli.tokenizer.run", fail)
    assert main(["tokenizer", "a.txt", "--vocab-size", "300", "--out", "t"]) == 1
    assert "tokenizer: error: Text is generated on TensorFlow" in capsys.readouterr().err
