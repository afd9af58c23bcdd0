import json
import re
import shutil

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.export import Certificate
from gpt2_keras.verification.certificate import certificate_path
from tests.export.device_files import SMALL, small_file
from tests.models import text_model

pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A directory with two models and the .tflite file of the first, and that file."""
    home = tmp_path_factory.mktemp("verify")
    model, exported = small_file()
    model.save_to_preset(home / "model")
    text_model(seed=1, **SMALL).save_to_preset(home / "other")
    shutil.copy(certificate_path(exported), home / "model.certificate.json")
    return home, shutil.copy(exported, home / "model.tflite")


def test_it_prints_a_table_of_what_was_measured(paths, capsys):
    home, artifact = paths
    assert main(["verify", str(artifact), "--model", str(home / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "figure", "limit", "ok", "details"]
    assert [line.split("  ")[0] for line in lines[1:-1]] == [
        check.name for check in Certificate.read(artifact).checks
    ]
    assert lines[2].startswith("texts with other ids ")
    assert "yes  " in lines[2]
    assert lines[2].endswith(" tokens")
    assert lines[-1] == f"{artifact} equals the model and its certificate"


def test_the_result_may_be_json_and_the_text_one_s_own(paths, tmp_path, capsys):
    home, artifact = paths
    text = tmp_path / "text.txt"
    text.write_text("the dog sat on the log. ", encoding="utf-8")
    words = ["verify", str(artifact), "--model", str(home / "model"), "--json"]
    assert main([*words, "--text", str(text)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["artifact"], printed["passed"], printed["failures"]) == (
        str(artifact),
        True,
        [],
    )
    assert printed["certificate"]["text"]["characters"] == 24
    assert printed["certificate"]["files"] == Certificate.read(artifact).files


def test_another_model_fails_with_both_values_on_the_error_stream(paths, capsys):
    home, artifact = paths
    assert main(["verify", str(artifact), "--model", str(home / "other")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, second = printed.err.splitlines()
    assert first == (
        f"gpt2-keras verify: error: {artifact} does not equal the model, or its certificate:"
    )
    assert re.fullmatch(
        r"- The model's weights: found \w{64}, but the certificate has \w{64}\.", second
    )
    words = ["verify", str(artifact), "--model", str(home / "other"), "--json"]
    assert main(words) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert [f"- {line}" for line in result["failures"]] == [second]
    assert result["certificate"] is None


def test_an_edited_certificate_fails_below_its_table(paths, capsys):
    home, artifact = paths
    certificate = certificate_path(artifact)
    kept = certificate.read_text(encoding="utf-8")
    certificate.write_text(kept.replace('"python"', '"snake"'), encoding="utf-8")
    try:
        assert main(["verify", str(artifact), "--model", str(home / "model")]) == 1
    finally:
        certificate.write_text(kept, encoding="utf-8")
    printed = capsys.readouterr()
    assert printed.out.startswith("check ")
    assert "equals the model" not in printed.out
    assert re.search(
        r"- The certificate has seal \w{64}, and its contents have \w{64}", printed.err
    )


@pytest.mark.parametrize(
    ("artifact", "extra", "message"),
    [
        ("nowhere", [], "nowhere does not exist. Name an artifact that `gpt2-keras export` wrote."),
        (
            "model",
            [],
            "model is no artifact: neither a SavedModel, a directory with saved_model.pb,",
        ),
        ("model.tflite", ["--text", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_an_error_is_a_message_without_a_traceback(paths, artifact, extra, message, capsys):
    home, _ = paths
    words = ["verify", str(home / artifact), "--model", str(home / "model")]
    assert main([*words, *extra]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_the_model_must_be_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "model.tflite"])
    assert stopped.value.code == 2
    assert "the following arguments are required: --model" in capsys.readouterr().err
