"""What the errors of commands advise, done."""

import pytest

from gpt2_keras.cli.main import main
from tests.models import text_model


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "model"
    text_model().save_to_preset(directory)
    return directory


@pytest.fixture
def generate(model_directory, capsys):
    """Returns the status, the output and the error of `gpt2-keras generate`."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main(["generate", "--model", str(model_directory), *arguments])
        except SystemExit as error:
            status = error.code
        output = capsys.readouterr()
        return status or 0, output.out, output.err

    return run


def test_several_texts_of_greedy_decoding(generate):
    wrong = ["the", "--max-new-tokens", "2", "--num-return-sequences", "2"]
    status, _, error = generate(*wrong)
    assert status == 1
    advice = "for example --temperature 1."
    assert error.rstrip().endswith(advice)
    option = advice.removeprefix("for example ").removesuffix(".").split()
    status, output, _ = generate(*wrong, *option)
    assert status == 0
    assert output.count("the") >= 2


@pytest.mark.parametrize(
    ("prompt", "tokens", "option"),
    [
        ("the cat sat on the mat, and the dog sat", "28", "--on-overflow truncate"),
        ("the", "32", "--on-overflow sliding_window"),
    ],
)
def test_a_text_that_outgrows_the_context(prompt, tokens, option, generate):
    wrong = [prompt, "--max-new-tokens", tokens]
    status, _, error = generate(*wrong)
    assert status == 1
    assert f"--max-new-tokens {tokens}" in error
    assert option in error
    assert generate(*wrong, *option.split())[0] == 0


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["prepare", "{csv}", "--tokenizer", "{tokenizer}", "--text-field", "x"], "`--text-field`"),
        (["prepare", "{txt}", "--tokenizer", "{tokenizer}"], "`--input-format`"),
    ],
)
def test_a_field_and_a_format_are_named_as_flags(words, advice, tmp_path, capsys):
    text_model().tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "a.csv").write_text("title,body\none,the cat sat\n")
    (tmp_path / "a.jsonl").write_text("the cat sat\n")
    names = {"csv": "a.csv", "txt": "a.jsonl", "tokenizer": "tokenizer"}
    paths = {name: str(tmp_path / file) for name, file in names.items()}
    words = [word.format(**paths) for word in words]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert advice in capsys.readouterr().err
    value = {"`--text-field`": "body", "`--input-format`": "text"}[advice]
    flags = [advice.strip("`"), value]
    assert main([*words, *flags, "--out", str(tmp_path / "out")]) == 0
