import sys

import numpy as np
import pytest
import tensorflow as tf

from gpt2_keras.export import warmup
from tests.models import text_model


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    pytest.importorskip(
        "tensorflow_serving.apis", reason="needs tensorflow-serving-api: gpt2-keras[serving]"
    )
    directory = tmp_path_factory.mktemp("warm") / "model"
    model = text_model(context_length=64, num_layers=1)
    return model.export(directory, max_new_tokens=4, certificate=False)


def test_every_request_is_one_that_its_signature_answers(version):
    from tensorflow_serving.apis import prediction_log_pb2

    signatures = tf.saved_model.load(str(version)).signatures
    asked = []
    for record in tf.data.TFRecordDataset(str(version / warmup.WARMUP_FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answers = signatures[request.model_spec.signature_name](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        (batch_size,) = {len(value) for value in inputs.values()}
        assert {len(value) for value in answers.values()} == {batch_size}
        asked.append((request.model_spec.signature_name, batch_size))
    assert set(asked) == {(name, size) for name in signatures for size in warmup.BATCH_SIZES}
    assert len(asked) <= warmup.MAX_RECORDS


def test_without_the_library_it_is_left_out_or_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    warmup.write_warmup(tmp_path, 4)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        ImportError, match=r"^tensorflow-serving-api is not installed, which warm-up"
    ):
        warmup.write_warmup(tmp_path, 4, required=True)


def test_requests_hold_what_they_say():
    requests = dict(warmup._requests(["a", "b"], 4))
    assert requests["generate"]["max_new_tokens"].tolist() == [4, 4]
    assert all(len(value) == 2 for inputs in requests.values() for value in inputs.values())
    assert requests["score"]["text"].dtype == np.dtype(object)
