"""What the errors of exports advise, done."""

from pathlib import Path

import pytest

from gpt2_keras.export import certify, verify
from tests.advice.following import follow, told
from tests.models import text_model

pytestmark = pytest.mark.usefixtures("short_certificates")


@pytest.fixture(scope="module")
def model():
    return text_model()


def test_a_quantization_in_place(model, tmp_path):
    pytest.importorskip("litert_quantizer")
    wide = text_model(hidden_dim=32)
    message = told(lambda: wide.quantize("int8"), "Quantize the export: `")
    call = message.split("`")[1]
    assert call == 'model.export("model.tflite", format="litert", dtype="int8")'
    path = wide.export(tmp_path / "model.tflite", format="litert", dtype="int8", certificate=False)
    assert path.is_file()


def test_blocks_that_do_not_fit(tmp_path):
    pytest.importorskip("litert_quantizer")
    model = text_model(hidden_dim=20)

    def export(**changes):
        return model.export(
            tmp_path / "model.tflite", format="litert", certificate=False, **changes
        )

    assert follow(export, "Use dtype='int8'.", dtype="int4").is_file()


def test_arguments_of_another_format(model, tmp_path):
    def export(**changes):
        return model.export(tmp_path / "model", certificate=False, **changes)

    told(lambda: export(input_signature=[]), "Leave it out.")
    options = told(lambda: export(quantize="int8"), "Use one of ")
    assert "warmup" in options
    told(
        lambda: export(format="litert", version=1),
        "Leave it out, or use format='tf_saved_model'.",
    )
    assert export(format="tf_saved_model", version=1, warmup=False).is_dir()
    assert follow(export, "Use version=", version=1).name == "2"


def test_a_name_by_which_no_certificate_is_found(model, tmp_path):
    def export(name, **changes):
        return model.export(tmp_path / name, format="litert", **changes)

    told(lambda: export("a.bin"), "Name it *.tflite, or use certificate=False.")
    assert export("a.bin", certificate=False).is_file()
    path = export("a.tflite")
    told(lambda: export("a.tflite"), "Name another path, or move it away first.")
    path.rename(tmp_path / "away.tflite")
    assert export("a.tflite").is_file()


def test_an_artifact_without_a_certificate(model, tmp_path):
    path = model.export(tmp_path / "a.tflite", format="litert", certificate=False)
    advice = "or write one: `gpt2_keras.export.certify(model, path).write()`."
    told(lambda: verify(path, model), advice)
    certify(model, path).write()
    assert verify(path, model)


def test_what_is_no_artifact(model, tmp_path):
    told(lambda: verify(tmp_path / "a", model), "Name an artifact that `gpt2-keras export` wrote.")
    (tmp_path / "a").write_text("")
    told(lambda: verify(tmp_path / "a", model), "Name another path.")
    served = tmp_path / "served"
    for version in (9, 10):
        model.export(served, version=version, warmup=False)
    advice = told(lambda: verify(served, model), "Name the version: ")
    named = Path(advice.removeprefix("Name the version: ").removesuffix("."))
    assert named == served / "10"
    assert verify(named, model)
