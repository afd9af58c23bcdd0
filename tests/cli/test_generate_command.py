import json

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.generation import LogitsProcessors, xla_functions
from gpt2_keras.generation.sampler import Sampler
from tests.models import text_model


@pytest.fixture(scope="module")
def model_and_directory(tmp_path_factory):
    model = text_model(context_length=64)
    path = tmp_path_factory.mktemp("models") / "model"
    model.save_to_preset(path)
    return model, str(path)


@pytest.mark.parametrize(
    ("words", "sampler", "processors"),
    [
        (["--repetition-penalty", "1.7"], Sampler(0.0, repetition_penalty=1.7), LogitsProcessors()),
        (["--min-p", "0.2", "--temperature", "1.4"], Sampler(1.4, min_p=0.2), LogitsProcessors()),
        (
            ["--forced-prefix", " sat", "--min-new-tokens", "3"],
            None,
            LogitsProcessors(3, forced_prefix=" sat"),
        ),
        (
            ["--bad-word", "\x1c", "--bad-word", "\x06"],
            None,
            LogitsProcessors(bad_words=["\x1c", "\x06"]),
        ),
    ],
)
def test_its_options_are_those_of_generate(model_and_directory, capsys, words, sampler, processors):
    model, directory = model_and_directory
    command = ["generate", "--model", directory, "the cat", "--seed", "3", "--json"]
    assert main([*command, "--max-new-tokens", "9", *words]) == 0
    options = {"seed": 3, "max_new_tokens": 9, "logits_processors": processors}
    expected = model.generate(["the cat"], sampler=sampler or "greedy", **options)
    assert json.loads(capsys.readouterr().out) == expected
    assert expected != model.generate(["the cat"], seed=3, max_new_tokens=9)


def test_the_loop_is_compiled_if_asked(model_and_directory, capsys, monkeypatch):
    model, directory = model_and_directory
    made, compile_model = [], xla_functions.compile_model
    monkeypatch.setattr(
        xla_functions, "compile_model", lambda *args: made.append(args) or compile_model(*args)
    )
    command = ["generate", "--model", directory, "the cat", "--max-new-tokens", "9"]
    assert main([*command, "--jit-compile"]) == 0
    assert capsys.readouterr().out == model.generate("the cat", max_new_tokens=9) + "\n"
    assert len(made) == 1
    assert main(command) == 0
    assert len(made) == 1


def test_an_empty_bad_word_is_an_error(model_and_directory, capsys):
    assert main(["generate", "--model", model_and_directory[1], "--bad-word", ""]) == 1
    assert "bad_words=('',) has an empty string" in capsys.readouterr().err
