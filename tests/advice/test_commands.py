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
    assert status in (1, 2)
    advice = "for example --temperature 1."
    assert error.rstrip().endswith(advice)
    option = advice.removeprefix("for example ").removesuffix(".").split()
    status, output, _ = generate(*wrong, *option)
    assert status == 0
    assert output.count("the") >= 2


def test_a_prompt_that_is_too_long(generate):
    wrong = ["the cat sat on the mat, and the dog sat", "--max-new-tokens", "28"]
    status, _, error = generate(*wrong)
    assert status in (1, 2)
    assert "Shorten" in error
    assert generate("the", "--max-new-tokens", "28")[0] == 0
