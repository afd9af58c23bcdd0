"""Servers that answer as TF Serving does, over REST and gRPC, with a loaded SavedModel.

They accept and write the published forms, and fail when told to.
Source: https://www.tensorflow.org/tfx/serving/api_rest, and of its status codes and refusals
`http_server.cc`, `json_tensor.cc` and `predict_util.cc` in github.com/tensorflow/serving.
"""

import atexit
import base64
import contextlib
import functools
import json
import re
import socket
import struct
import tempfile
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from gpt2_keras.export.saved_model import to_saved_model
from tests.models import text_model

NEW_TOKENS = 10
CONTEXT_LENGTH = 64
# What JSON values an input's dtype takes; a bool is an int in Python, and none in JSON.
JSON_TYPES = {tf.int32: int, tf.float32: (int, float), tf.string: (str, dict)}


class BadRequestError(Exception):
    """What TF Serving answers with InvalidArgument."""


@functools.cache
def served_model():
    """A tiny model and its version directory; the same for all that ask in a process."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    model = text_model(context_length=CONTEXT_LENGTH)
    return model, to_saved_model(
        model, f"{folder.name}/gpt2", max_new_tokens=NEW_TOKENS, warmup=False
    )


@functools.cache
def _loaded(path):
    """Keeps what owns the variables: a signature by itself does not."""
    return tf.saved_model.load(str(path))


def loaded_signatures(path):
    return _loaded(path).signatures


def input_specs(function):
    return function.structured_input_signature[1]


def predict(signatures, name, inputs):
    """Runs a signature on arrays by name; all its inputs must be there, and no others."""
    if name not in signatures:
        raise BadRequestError(f'Serving signature name: "{name}" not found in signature def')
    if set(inputs) != set(input_specs(signatures[name])):
        raise BadRequestError(f"input keys {sorted(inputs)} are not those of the signature")
    try:
        answers = signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
    except tf.errors.InvalidArgumentError as error:
        raise BadRequestError(error.message) from error
    return {key: value.numpy() for key, value in answers.items()}


# The JSON forms.


def predict_json(signatures, body):
    """Answers a `:predict` body, in the format that it has; returns the JSON object."""
    request = json.loads(body)
    name = request.get("signature_name", "serving_default")
    if ("instances" in request) == ("inputs" in request):
        raise BadRequestError("expecting one of 'inputs' or 'instances'")
    if name not in signatures:
        raise BadRequestError(f'Serving signature name: "{name}" not found in signature def')
    specs = input_specs(signatures[name])
    in_rows = "instances" in request
    columns = (_from_rows if in_rows else _from_columns)(request, specs)
    inputs = {key: _array(value, specs[key].dtype) for key, value in columns.items()}
    outputs = predict(signatures, name, inputs)
    lists = {key: _json_values(key, value) for key, value in outputs.items()}
    if not in_rows:
        return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}
    assert len({len(value) for value in outputs.values()}) == 1, "rows need one batch size"
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return {"predictions": rows if len(lists) > 1 else [next(iter(row.values())) for row in rows]}


def _from_rows(request, specs):
    rows = request["instances"]
    if not isinstance(rows, list) or not rows:
        raise BadRequestError("'instances' must be a list with values")
    named = isinstance(rows[0], dict) and set(rows[0]) != {"b64"}
    if not named and len(specs) > 1:
        raise BadRequestError("instances is a plain list, but expecting list of objects")
    if not named:
        return {next(iter(specs)): rows}
    for row in rows:
        if set(row) != set(specs):
            raise BadRequestError(f"keys must be equal to: {','.join(sorted(specs))}")
    return {key: [row[key] for row in rows] for key in specs}


def _from_columns(request, specs):
    columns = request["inputs"]
    if not isinstance(columns, dict) or set(columns) == {"b64"}:
        if len(specs) > 1:
            raise BadRequestError("inputs is a plain value/list, but expecting an object")
        return {next(iter(specs)): columns}
    for name in specs:
        if name not in columns:
            raise BadRequestError(f"Missing named input: {name} in 'inputs' object.")
    return {name: columns[name] for name in specs}


def _array(value, dtype):
    def converted(item):
        if isinstance(item, list):
            return [converted(part) for part in item]
        if isinstance(item, bool) or not isinstance(item, JSON_TYPES[dtype]):
            raise BadRequestError(f"JSON Value: {item!r} is not of expected type: {dtype.name}")
        if isinstance(item, dict):
            return base64.b64decode(item["b64"], validate=True)
        return item.encode() if isinstance(item, str) else item

    try:
        return np.array(converted(value), object if dtype == tf.string else dtype.as_numpy_dtype)
    except ValueError as error:
        raise BadRequestError("Encountered list at unexpected size") from error


def _json_values(name, values):
    def converted(item):
        if isinstance(item, list):
            return [converted(part) for part in item]
        if not isinstance(item, bytes):
            return item
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(item).decode()}
        return item.decode()

    return converted(values.tolist())


# The servers.


class RestServer(ThreadingHTTPServer):
    """Answers on a free port of this machine; as a context it runs in a thread.

    Args:
        signatures: Of the loaded model, which is named `gpt2`.
        failures: What to do instead of answering, one for each request to come: an
            HTTP status, `"reset"` for a connection that breaks, or seconds to wait.
    """

    daemon_threads = True

    def __init__(self, signatures, failures=()):
        super().__init__(("127.0.0.1", 0), _RestHandler)
        self.signatures, self.failures, self.bodies = signatures, list(failures), []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *error):
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that has gone away is what some tests are about."""


class _RestHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        if not re.fullmatch(r"/v1/models/gpt2(/versions/1)?", self.path):
            return self._reply(404, {"error": "Could not find any versions of model"})
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": "1", "state": "AVAILABLE", "status": status}
        return self._reply(200, {"model_version_status": [version]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        failure = self.server.failures.pop(0) if self.server.failures else None
        if failure == "reset":
            linger = struct.pack("ii", 1, 0)  # closing now sends RST and not FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return None
        if isinstance(failure, float):
            threading.Event().wait(failure)
        elif failure is not None:
            return self._reply(failure, {"error": "told to fail"})
        if not re.fullmatch(r"/v1/models/gpt2(/versions/1)?:predict", self.path):
            return self._reply(404, {"error": "Servable not found for request"})
        try:
            return self._reply(200, predict_json(self.server.signatures, body))
        except BadRequestError as error:
            return self._reply(400, {"error": str(error)})

    def _reply(self, status, content):
        body = json.dumps(content, indent=1).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Nothing on the terminal."""


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, signatures, failures):
        self.signatures, self.failures, self.requests = signatures, list(failures), []

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, float):
            threading.Event().wait(failure)
        elif failure is not None:
            context.abort(failure, "told to fail")
        if request.model_spec.name != "gpt2":
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        name = request.model_spec.signature_name or "serving_default"
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        try:
            outputs = predict(self.signatures, name, inputs)
        except BadRequestError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        reply = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            reply.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return reply


@contextlib.contextmanager
def grpc_server(signatures, failures=()):
    """Runs a server with the model `gpt2`; yields its address and its service."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = _PredictionService(signatures, failures)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(grace=None).wait()
