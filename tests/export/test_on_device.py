"""The programs for devices that a user copies."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2_keras.generation import stateless_random as random
from tests.export.device_files import text_file

pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: pip install 'gpt2-keras[litert]'"
)
ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "export" / "on_device" / "cpp"
PROGRAM = ROOT / "export" / "on_device" / "python" / "run.py"
PROMPTS = ["the cat", "é𝄞\n\n x", "", "the cat sat on the mat, and " * 4 + "the"]


@pytest.fixture(scope="module")
def exported():
    """A model and its file."""
    return text_file()


@pytest.fixture(scope="module")
def program():
    """The runner as a module."""
    spec = importlib.util.spec_from_file_location("on_device_run", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runner(exported, program):
    """The runner with the file loaded."""
    return program.DeviceModel(str(exported[1]))


def run(*arguments, code=None):
    """Runs the program in a process that sees neither this package nor this folder."""
    start = ["-c", code, str(PROGRAM)] if code else [str(PROGRAM)]
    command = [sys.executable, "-I", *start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False)


def test_a_process_with_litert_alone_continues_a_text_as_the_model_does(exported):
    model, path = exported
    code = (
        "import json, runpy, sys; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print(json.dumps(sorted({'gpt2_keras', 'tensorflow', 'keras'} & set(sys.modules))))"
    )
    result = run(path, "é𝄞 the cat", "--max-new-tokens", 12, code=code)
    assert result.returncode == 0, result.stderr.decode()
    text, imported = result.stdout.decode().removesuffix("\n").rsplit("\n", 1)
    assert text == model.generate("é𝄞 the cat", max_new_tokens=12)
    assert json.loads(imported) == []


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_text_deltas_are_those_of_the_model(exported, runner, prompt):
    # Random weights: most tokens are bytes that make no character, or a part of one.
    deltas = [delta for delta in runner.stream(prompt, 16) if delta]
    assert deltas == [delta for delta in exported[0].stream(prompt, max_new_tokens=16) if delta]


def test_weights_kept_in_a_file_give_the_same_text(exported, runner, program, tmp_path):
    cache = tmp_path / "weights"
    texts = []
    for _ in range(2):  # makes the file, then reads it
        model = program.DeviceModel(str(exported[1]), weight_cache=str(cache))
        texts.append("".join(model.stream("the cat", 16)))
        assert (
            cache.stat().st_size > 4 * exported[0].token_embedding.embeddings.shape.num_elements()
        )
    assert texts == 2 * ["".join(runner.stream("the cat", 16))]


@pytest.mark.parametrize(
    ("settings", "num_texts"),
    [
        ({"temperature": 1.5}, 3),
        ({"temperature": 4.0, "top_k": 5}, 3),
        ({"temperature": 4.0, "top_k": 1}, 1),
    ],
)
def test_a_seed_samples_the_text_that_the_model_samples(exported, runner, settings, num_texts):
    texts = set()
    for seed in (0, 7, -1):
        text = "the cat" + "".join(runner.stream("the cat", 24, **settings, seed=seed))
        assert text == exported[0].generate("the cat", max_new_tokens=24, **settings, seed=seed)
        texts.add(text)
    assert len(texts) == num_texts


def test_random_numbers_are_those_of_the_library(program):
    for seed in (0, 1, -1, 2**31 - 1):
        for step in (0, 1, 63):
            assert program.uniform(seed, step) == float(random.uniform([seed], step)[0])


def test_a_text_delta_never_ends_inside_a_character(runner, monkeypatch):
    spelled = iter("aé𝄞".encode())
    monkeypatch.setattr(runner, "bytes_of", lambda token_id: bytes([next(spelled)]))
    assert list(runner.stream("the cat", 7)) == ["a", "", "é", "", "", "", "𝄞", ""]


def test_the_end_token_ends_the_text(runner, program, monkeypatch):
    monkeypatch.setattr(program, "choose", lambda *_: min(runner.end_token_ids))
    assert list(runner.stream("the cat", 7)) == [""]


def test_a_long_prompt_is_truncated_and_a_full_context_ends_the_text(exported, runner):
    prompt = "the cat sat on the mat, and the dog. " * 20
    model = exported[0]
    assert runner.start_token_id == model.tokenizer.end_token_id
    assert runner.end_token_ids == {model.tokenizer.end_token_id}
    assert runner.context_length == 64
    expected = model.generate(prompt, max_new_tokens=1, on_overflow="truncate")
    assert prompt + "".join(runner.stream(prompt, 16)) == expected
    kept = len(model.tokenizer.encode("the cat"))
    expected = model.generate("the cat", max_new_tokens=64 - kept)
    assert "the cat" + "".join(runner.stream("the cat", 1000)) == expected


def test_the_page_says_how_to_run_the_file(exported, monkeypatch, capsys):
    model, path = exported
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "on_device.md").read_text(), re.S)
    monkeypatch.chdir(path.parent)
    exec(next(block for block in blocks if "ai_edge_litert" in block), {})  # noqa: S102
    assert capsys.readouterr().out == model.generate("Once upon a time", max_new_tokens=16) + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.tflite"], "argument model: no such file: nowhere.tflite"),
        ([PROGRAM, "--temperature", "-1"], "--temperature and --top-k at least 0"),
        ([PROGRAM, "--max-new-tokens", "0"], "--max-new-tokens must be at least 1"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(arguments, message):
    result = run(*arguments)
    assert result.returncode == 2
    assert message in result.stderr.decode()
    assert "Traceback" not in result.stderr.decode()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The C++ program, built with the C API in litert-lm's library."""
    if sys.platform != "linux" or not (shutil.which("g++") and shutil.which("make")):
        pytest.skip("needs Linux with g++ and make: apt-get install g++ make")
    pytest.importorskip("litert_lm", reason="needs it: pip install 'gpt2-keras[litertlm]'")
    folder = tmp_path_factory.mktemp("cpp")
    command = ["make", "-C", str(CPP), f"OUT={folder}", f"PYTHON={sys.executable}"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""  # no warning
    return folder / "generate"


def run_compiled(program, *arguments):
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False)


@pytest.mark.parametrize(
    ("prompt", "count", "settings"),
    [
        ("the cat", 12, {}),
        ("é𝄞\n\n x", 12, {}),
        ("", 12, {}),
        ("the cat sat on the mat, and " * 4, 9, {}),
        ("the cat", 12, {"temperature": 1.5, "top_k": 40, "seed": -7}),
    ],
)
def test_the_cpp_program_writes_what_the_model_writes(exported, compiled, prompt, count, settings):
    model, file = exported
    flags = [f"--{name.replace('_', '-')}" for name in settings]
    words = [word for pair in zip(flags, settings.values(), strict=True) for word in pair]
    result = run_compiled(compiled, file, prompt, "--max-new-tokens", count, *words)
    assert result.returncode == 0, result.stderr.decode()
    expected = model.generate(prompt, max_new_tokens=count, **settings)
    assert result.stdout.decode() == expected + "\n"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["m.tflite"], 2, "usage: generate MODEL.tflite TEXT"),
        (["m.tflite", "the", "--top-k"], 2, "usage: generate MODEL.tflite TEXT"),
        (["m.tflite", "the", "--top-k", "4x"], 2, "not understood: --top-k 4x"),
        (["m.tflite", "the", "--colour", "4"], 2, "not understood: --colour 4"),
        (["m.tflite", "the", "--temperature", "-1"], 2, "--top-k and --temperature at least 0"),
        (["m.tflite", "the", "--max-new-tokens", "0"], 2, "--threads must be at least 1"),
        (["nowhere.tflite", "the"], 1, "generate: error: cannot read nowhere.tflite"),
    ],
)
def test_the_cpp_program_tells_a_mistake_in_a_line(compiled, arguments, status, message):
    result = run_compiled(compiled, *arguments)
    assert result.returncode == status
    assert message in result.stderr.decode()


def test_the_cpp_program_tells_a_file_without_text(exported, compiled, tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(exported[1].read_bytes().replace(b"generate", b"venerate"))
    result = run_compiled(compiled, file, "the")
    assert result.returncode == 1
    assert 'm.tflite has no signature "generate"' in result.stderr.decode()
