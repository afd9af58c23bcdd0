"""The command `gpt2-keras lm-eval`; tests/peers/test_harness.py runs the harness."""

import sys

import pytest

from gpt2_keras.cli.main import main


def test_a_missing_harness_says_which_extra_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert main(["lm-eval", "--model_args", "pretrained=x", "--tasks", "y"]) == 1
    assert capsys.readouterr().err == (
        "gpt2-keras lm-eval: error: lm-eval is not installed, which is lm-evaluation-harness. "
        "Run: pip install 'gpt2-keras[harness]'.\n"
    )


def test_without_words_it_says_what_it_is_for(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["lm-eval"])
    assert stopped.value.code == 0
    assert "lm-evaluation-harness" in capsys.readouterr().out
