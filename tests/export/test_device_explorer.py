import numpy as np
import pytest

from gpt2_keras.understanding import explore
from gpt2_keras.verification.litert_metadata import LiteRTContents
from tests.export.device_files import text_file
from tests.models import random_model, text_model

interpreter_module = pytest.importorskip(
    "ai_edge_litert.interpreter", reason="needs ai-edge-litert: pip install 'gpt2-keras[litert]'"
)
TEXT = "the cat sat on the log, it's 42"


def file_of(model, folder, **options):
    """A file with the signature, and its interpreter."""
    path = model.export(
        folder / "model.tflite", format="litert", certificate=False, with_explore=True, **options
    )
    return path, interpreter_module.Interpreter(model_path=str(path))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model, _ = text_file()
    return model, *file_of(model, tmp_path_factory.mktemp("explore"))


def assert_equal(found, exploration, tolerance):
    """Holds the outputs of the signature against those of Keras."""
    lens = exploration.lens
    known = slice(0, len(exploration.token_ids) - 1)
    close = {"rtol": 0, "atol": tolerance}
    np.testing.assert_allclose(found["log_probs"][known], exploration.log_probs[1:], **close)
    np.testing.assert_allclose(found["entropies"], exploration.entropies, **close)
    np.testing.assert_allclose(found["attention"], exploration.attention, **close)
    np.testing.assert_allclose(found["lens_probs"], lens.probs, **close)
    np.testing.assert_allclose(found["lens_kl"], lens.kl, **close)
    np.testing.assert_array_equal(found["lens_ids"], lens.ids)
    np.testing.assert_array_equal(found["lens_ranks"], lens.ranks)
    np.testing.assert_array_equal(found["lens_ids"][-1], exploration.candidate_ids)


def test_it_gives_what_keras_gives_at_every_length(exported):
    model, _, interpreter = exported
    run = interpreter.get_signature_runner("explore")
    ids = explore(model, TEXT).token_ids
    for length in (1, 5, len(ids), 2):
        assert_equal(run(token_ids=ids[:length]), explore(model, ids[:length]), 1e-3)
    full = np.resize(ids, model.config.context_length)
    assert_equal(run(token_ids=full), explore(model, full), 1e-3)


def test_a_model_without_tokenizer_has_it_too(tmp_path):
    model = random_model()
    _, interpreter = file_of(model, tmp_path)
    assert set(interpreter.get_signature_list()) == {"logits", "explore"}
    ids = np.array([3, 1, 4, 1, 5], "int32")
    found = interpreter.get_signature_runner("explore")(token_ids=ids)
    assert_equal(found, explore(model, ids), 1e-3)


@pytest.mark.slow
def test_with_eight_bits_it_looks_inside_what_they_compute(exported, tmp_path):
    model, _, _ = exported
    _, interpreter = file_of(model, tmp_path, dtype="int8")
    ids = explore(model, TEXT).token_ids
    found = interpreter.get_signature_runner("explore")(token_ids=ids)
    np.testing.assert_allclose(found["attention"].sum(axis=-1), 1, atol=1e-5)
    prefill = interpreter.get_signature_runner("prefill")(token_ids=ids)["logits"][0]
    # Eight bits are of each row by itself in both, so they compute the same but for rounding.
    assert found["lens_ids"][-1, -1, 0] == prefill.argmax()


def test_the_file_keeps_its_other_signatures_and_its_weights_once(exported):
    model, path, interpreter = exported
    _, plain = text_file()
    for each in (plain, path):
        assert LiteRTContents(np.memmap(each, mode="r")).non_builtin_ops() == []
    names = interpreter_module.Interpreter(model_path=str(plain)).get_signature_list()
    assert set(interpreter.get_signature_list()) - set(names) == {"explore"}
    for weight in model.weights:
        values = np.asarray(weight.value)
        if values.size > 256:
            data = values.astype("<f4").tobytes()
            counts = [each.read_bytes().count(data) for each in (plain, path)]
            assert counts == [1, 1], weight.path


def test_a_wrong_flag_is_told(tmp_path):
    with pytest.raises(TypeError, match="with_explore='yes' is a str"):
        text_model().export(tmp_path / "a.tflite", format="litert", with_explore="yes")
