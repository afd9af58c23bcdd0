import json
import shutil

import pytest

from gpt2_keras.cli.main import main
from gpt2_keras.export import Certificate
from gpt2_keras.verification.artifact import certificate_path
from tests.export.device_files import SMALL, small_file
from tests.models import text_model

pytest.importorskip("ai_edge_litert", reason="runs the .tflite file")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A model directory, another one's, and the first one's .tflite file."""
    home = tmp_path_factory.mktemp("verify")
    model, exported = small_file()
    model.save_to_preset(home / "model")
    text_model(seed=1, **SMALL).save_to_preset(home / "other")
    shutil.copy(certificate_path(exported), home / "model.certificate.json")
    return home, shutil.copy(exported, home / "model.tflite")


def test_it_prints_a_table_of_what_was_measured(places, capsys):
    home, artifact = places
    assert main(["verify", str(artifact), "--model", str(home / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["check", "figure", "limit", "ok", "of"]
    assert [line.split("  ")[0] for line in lines[1:-1]] == [
        check.name for check in Certificate.read(artifact).checks
    ]
    assert lines[2].startswith("texts with other ids ")
    assert "yes  " in lines[2]
    assert lines[2].endswith(" tokens")
    assert lines[-1] == f"{artifact} equals the model and its certificate"


def test_json_is_for_programs_and_the_text_may_be_one_s_own(places, tmp_path, capsys):
    home, artifact = places
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


def test_another_model_fails_with_both_values_on_the_error_stream(places, capsys):
    home, artifact = places
    assert main(["verify", str(artifact), "--model", str(home / "other")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    first, second = printed.err.splitlines()
    assert first == (
        f"gpt2-keras verify: error: {artifact} does not equal the model, or its certificate:"
    )
    assert second.startswith("- The model's weights: not as in the certificate. Received: ")
    words = ["verify", str(artifact), "--model", str(home / "other"), "--json"]
    assert main(words) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert [f"- {line}" for line in result["failures"]] == [second]
    assert result["certificate"] is None


def test_an_edited_certificate_fails_below_its_table(places, capsys):
    home, artifact = places
    place = certificate_path(artifact)
    kept = place.read_text(encoding="utf-8")
    place.write_text(kept.replace('"python"', '"snake"'), encoding="utf-8")
    try:
        assert main(["verify", str(artifact), "--model", str(home / "model")]) == 1
    finally:
        place.write_text(kept, encoding="utf-8")
    printed = capsys.readouterr()
    assert printed.out.startswith("check ")
    assert "equals the model" not in printed.out
    assert "- The certificate was edited after it was written. Received: seal " in printed.err


@pytest.mark.parametrize(
    ("artifact", "extra", "message"),
    [
        ("nowhere", [], "error: An artifact is what `gpt2-keras export` wrote. Received: "),
        ("model", [], "error: An artifact is the version directory of a SavedModel"),
        ("model.tflite", ["--text", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(places, artifact, extra, message, capsys):
    home, _ = places
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
