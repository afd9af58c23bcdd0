"""The command `gpt2-keras explore`."""

import json
import os
import re
import subprocess
import sys
import urllib.request

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.cli import explore_table
from gpt2_keras.cli.main import main
from gpt2_keras.runs import RunDirectory, TrainingSettings, train
from gpt2_keras.understanding import ablate, attribute, explore
from tests.models import CORPUS, random_model, text_model
from tests.processes import ROOT

TEXT = "the cat sat"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two models of one tokenizer, and one of another."""
    folder = tmp_path_factory.mktemp("explore")
    text_model(context_length=64).save_to_preset(folder / "one")
    text_model(context_length=64, seed=1).save_to_preset(folder / "two")
    return folder


@pytest.fixture(scope="module")
def model(home):
    return GPT2LM.from_preset(home / "one")


def page_data(path):
    page = path.read_text("utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', page)[1])


def run(*words):
    return main(["explore", *map(str, words)])


def test_a_line_for_each_token_says_what_was_expected(home, model, capsys):
    assert run(TEXT, "--model", home / "one") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    found = explore(model, TEXT)
    assert lines[0].split() == ["token", "bits", "rank", "most", "likely"]
    assert len(lines) == 1 + len(found.token_ids)
    for index, line in enumerate(lines[1:-1], start=1):
        token = explore_table.visible(found.tokens[index])
        words = line.split()
        assert words[:3] == [token, f"{found.bits[index]:.2f}", str(found.ranks[index])]
        best = found.candidate_ids[index - 1, 0]
        assert words[3] == explore_table.visible(model.tokenizer.decode([best]))
        assert words[4] == f"{found.candidate_probs[index - 1, 0]:.1%}"
    assert lines[-1].startswith("next?")
    assert "\x1b" not in printed.out


def test_in_a_terminal_tokens_have_the_colour_of_their_rank(home, model, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = explore(model, TEXT)
    coloured = explore_table.token_table([found])
    assert coloured.count("\x1b[0m") == len(found.token_ids) - 1
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == _plain(found, monkeypatch).split()
    assert "\x1b[30;4" in coloured


def _plain(found, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    plain = explore_table.token_table([found])
    assert "\x1b" not in plain
    return plain


def test_control_characters_reach_no_terminal(home, capsys):
    assert run("a\x1b[31m\x07\u202eb", "--model", home / "one") == 0
    printed = capsys.readouterr().out
    assert not set(printed) & set("\x1b\x07\u202e")
    assert "⟨001b⟩" in printed


def test_json_has_the_numbers_of_explore(home, model, capsys):
    words = ["--json", "--top", "4", "--layers", "1", "--no-start-token"]
    assert run(TEXT, "--model", home / "one", *words) == 0
    found = json.loads(capsys.readouterr().out)
    expected = explore(model, TEXT, k=4, layers=[1], start_token=False).to_dict()
    assert {"token_ids", "tokens", "log_probs", "ranks", "entropies", "attention", "lens"} <= set(
        found
    )
    assert found == {**expected, "model": str(home / "one")}


def test_ids_are_explored_where_there_is_no_tokenizer(tmp_path, capsys):
    random_model().save_to_preset(tmp_path / "bare")
    words = ["--model", tmp_path / "bare", "--ids"]
    assert run("5,6,7", *words, "--against", "", "--json") == 1
    assert "no tokenizer" in capsys.readouterr().err
    assert run("5,6,7", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["[6]", "[7]", "next?"]
    assert run("5,6,7", *words, "--out", tmp_path / "page.html") == 0
    assert page_data(tmp_path / "page.html")["explorations"][0]["ids"] == [5, 6, 7]
    assert run("a", "--model", tmp_path / "bare") == 1
    assert "The model has no tokenizer" in capsys.readouterr().err


def test_a_token_is_explained_against_another(home, model, capsys):
    words = ["--against", " on", "--attribute", " cat", "--method", "occlusion"]
    assert run(TEXT, "--model", home / "one", *words) == 0
    printed = capsys.readouterr().out
    assert "why ␣cat and not ␣on" in printed
    expected = attribute(model, TEXT, " cat", " on", "occlusion")
    for value in expected.values:
        assert f"{value:+.4f}" in printed
    assert f"occlusion, of a score of {expected.score:.4f}" in printed
    assert run(TEXT, "--model", home / "one", "--against", " on", "--json") == 0
    found = json.loads(capsys.readouterr().out)["attribution"]
    best = explore(model, TEXT).candidate_ids[-1]
    assert found["target"] == best[0]
    assert found["foil"] == model.tokenizer.encode(" on")[0]
    # Against the most likely one, the second is explained.
    most_likely = model.tokenizer.decode([best[0]])
    assert run(TEXT, "--model", home / "one", "--against", most_likely, "--json") == 0
    found = json.loads(capsys.readouterr().out)["attribution"]
    assert (found["target"], found["foil"]) == (best[1], best[0])


def test_heads_are_taken_out(home, model, capsys):
    words = ["--ablate", "1.0,0.1", "--ablate", "1.1", "--ablate-by", "zero"]
    assert run(TEXT, "--model", home / "one", *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)["ablated"]
    expected = ablate(model, TEXT, ["1.0", "0.1", "1.1"], "zero")
    assert found["log_probs"][1:] == expected.log_probs[1:].tolist()
    assert (found["heads"], found["mode"]) == (["1.0,0.1", "1.1"], "zero")
    assert run(TEXT, "--model", home / "one", *words) == 0
    printed = capsys.readouterr().out
    assert "bits, without 1.0, 0.1, 1.1" in printed
    assert f"{expected.bits[1]:.2f}" in printed.splitlines()[1]


def test_a_page_has_all_panels_or_is_quick(home, tmp_path, capsys):
    assert run(TEXT, "--model", home / "one", "--out", tmp_path / "a.html") == 0
    assert f"wrote {tmp_path / 'a.html'}" in capsys.readouterr().out
    data = page_data(tmp_path / "a.html")
    assert data["explorations"][0]["model"] == str(home / "one")
    assert data["explorations"][0]["panels"]["positions"][0] == 0
    assert run(TEXT, "--model", home / "one", "--out", tmp_path / "b.html", "--quick") == 0
    assert page_data(tmp_path / "b.html")["explorations"][0]["panels"] is None
    assert len(list(tmp_path.iterdir())) == 2


def test_models_are_compared(home, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ["--compare", home / "two", "--out", page, "--ablate", "0.0"]
    assert run(TEXT, "--model", home / "one", *words) == 0
    assert f"bits, {home / 'two'}" in capsys.readouterr().out
    shown = page_data(page)["explorations"]
    names = [each["model"] for each in shown]
    assert names == [str(home / "one"), str(home / "two"), "without 0.0"]
    assert [each["panels"] is None for each in shown] == [False, False, True]
    assert run(TEXT, "--model", home / "one", "--compare", home / "two", "--json") == 0
    (other,) = json.loads(capsys.readouterr().out)["compared"]
    expected = explore(GPT2LM.from_preset(home / "two"), TEXT).to_dict()
    assert other == {**expected, "model": str(home / "two")}


def test_the_checkpoints_of_a_run_are_compared(tmp_path, capsys):
    model = text_model(context_length=16)
    model.tokenizer.save(tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text("".join(CORPUS))
    assert main(["prepare", str(tmp_path / "text.txt"), "--tokenizer", str(tmp_path / "tokenizer"),
                 "--out", str(tmp_path / "shards")]) == 0  # fmt: skip
    settings = TrainingSettings(
        data=str(tmp_path / "shards"),
        tokenizer=str(tmp_path / "tokenizer"),
        steps=4,
        evaluate_every=1,
        checkpoint_every=1,
        warmup_steps=0,
        keep_checkpoints=3,
        batch_size=2,
        context_length=16,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        learning_rate=0.05,
    )
    out = tmp_path / "run"
    trained = train(settings, out, verbose=0, model_class=GPT2LM)
    capsys.readouterr()
    page = tmp_path / "page.html"
    assert run("the cat", "--model", out, "--checkpoints", "--out", page, "--quick") == 0
    shown = page_data(page)["explorations"]
    assert [each["model"] for each in shown] == ["step 2", "step 3", "step 4"]
    last = RunDirectory(out).last_checkpoint()
    last.restore_weights(trained)
    expected = explore(trained, "the cat").log_probs
    np.testing.assert_allclose(shown[-1]["logProbs"][1:], expected[1:], atol=1e-4)
    assert shown[0]["logProbs"] != shown[-1]["logProbs"]
    other = GPT2LM(text_model(num_layers=2).config)
    with pytest.raises(ValueError, match=r"step-0*4 has other weights than the model: model/"):
        last.restore_weights(other)
    assert keras.backend.backend() == "tensorflow"


def test_nothing_is_overwritten_and_no_page_is_half_written(home, tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert run(TEXT, "--model", home / "one", "--out", page) == 1
    assert f"{page} exists, and nothing is overwritten" in capsys.readouterr().err
    assert page.read_text() == "mine"
    assert run("", "--model", home / "one", "--out", tmp_path / "b.html") == 1
    assert run(TEXT, "--model", home / "one", "--against", "catdog", "--out", tmp_path / "c") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]


def test_a_text_too_long_for_a_page_is_told_which_layers_fit(home, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gpt2_keras.understanding.page.packing.MAX_ATTENTION_BYTES", 60)
    page = tmp_path / "page.html"
    assert run(TEXT, "--model", home / "one", "--out", page) == 1
    assert "Choose up to 1 by `--layers`, for example 1, or" in capsys.readouterr().err
    assert run(TEXT, "--model", home / "one", "--out", page, "--layers", "1", "--quick") == 0
    assert page_data(page)["explorations"][0]["layers"] == [1]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ([""], 1, "text='' has no token"),
        (["cat " * 200], 1, "context_length=64"),
        ([TEXT, "--against", "catdog"], 1, "--against catdog is"),
        ([TEXT, "--attribute", ""], 1, "--attribute '' is 0 tokens"),
        ([TEXT, "--ablate", "9.1"], 1, "--ablate 9.1 is no head of this model"),
        ([TEXT, "--ablate", "one"], 1, "is no head of this model"),
        ([TEXT, "--layers", "7"], 1, "layers[0]=7"),
        ([TEXT, "--layers", "a"], 2, "argument --layers: expected an integer of at least 0"),
        (["5,a", "--ids"], 2, "argument --ids: expected an integer of at least 0, got 'a'"),
        (["999", "--ids"], 1, "999 is not in the vocabulary"),
        ([TEXT, "--top", "0"], 2, "argument --top: expected an integer of at least 1"),
        ([TEXT, "--port", "-1"], 2, "argument --port"),
        ([TEXT, "--serve", "--port", "99999", "--quick"], 1, "--port 99999 is greater than 65535"),
        ([TEXT, "--serve", "--json"], 2, "argument --serve"),
        ([TEXT, "--serve", "--checkpoints"], 2, "argument --checkpoints: not with --serve"),
        ([TEXT, "--checkpoints", "--compare", "x"], 2, "argument --checkpoints: not with"),
        ([TEXT, "--checkpoints"], 1, "has no checkpoints"),
        ([TEXT, "--compare", "no-such-model"], 1, "no-such-model"),
        ([], 2, "TEXT"),
    ],
)
def test_mistakes_are_told(home, words, status, message, capsys):
    words = [*words, "--model", str(home / "one")]
    if status == 2:
        with pytest.raises(SystemExit) as stopped:
            run(*words)
        assert stopped.value.code == 2
    else:
        assert run(*words) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_a_model_named_twice_is_a_usage_error(home, capsys):
    with pytest.raises(SystemExit):
        run(TEXT, "--model", home / "one", "--compare", home / "one")
    assert "is named twice" in capsys.readouterr().err


def test_models_of_other_tokenizers_are_not_compared(home, tmp_path, capsys):
    from gpt2_keras import GPT2Config, GPT2Tokenizer

    tokenizer = GPT2Tokenizer.train(["zebra quartz " * 9], vocab_size=270)
    config = GPT2Config(tokenizer.vocab_size, 64, 2, 2, 16)
    GPT2LM(config, tokenizer).save_to_preset(tmp_path / "other")
    assert run(TEXT, "--model", home / "one", "--compare", tmp_path / "other", "--out",
               tmp_path / "page.html") == 1  # fmt: skip
    assert "they must have one tokenizer" in capsys.readouterr().err


def test_the_page_is_served_until_it_is_interrupted(home):
    command = [sys.executable, "-m", "gpt2_keras.cli.main", "explore", TEXT, "--model"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, str(home / "one"), "--serve", "--port", "0"],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 -- of this machine
            assert b"Inside GPT-2" in answer.read()
    finally:
        process.send_signal(2)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
