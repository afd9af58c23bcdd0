"""The clients against servers that answer with garbage, hang, redirect, fail, or never end."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest
from tensorflow_serving.apis import predict_pb2

from tests.export.test_tf_serving_clients import CLIENTS, modules  # noqa: F401 -- a fixture

TEXT = ["the cat"]


@contextlib.contextmanager
def server(*pieces, hold=0.0):
    """A server that answers each connection with these bytes, whatever it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked, done = [], threading.Event()

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            asked.append(connection.recv(1 << 16))
            for piece in pieces:
                if done.is_set():
                    return
                time.sleep(hold)
                connection.sendall(piece)
            # To close with a part of the request unread would take the answer back (a reset).
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            while connection.recv(1 << 16):
                pass

    def serve():
        with contextlib.suppress(OSError):
            while not done.is_set():
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        done.set()
        listener.close()


def reply(body, status="200 OK", headers=()):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def columns(**changes):
    whole = {
        "text": ["the cat"],
        "text_bytes": [{"b64": "dGhl"}],
        "token_ids": [[1, 2]],
        "num_tokens": [2],
        "finish_reason": ["length"],
    }
    outputs = {name: value for name, value in {**whole, **changes}.items() if value is not ...}
    return reply(json.dumps({"outputs": outputs}).encode())


GARBAGE = {
    "no JSON": reply(b"<h1>It works!</h1>"),
    "nothing": reply(b""),
    "not UTF-8": reply(b"\xff\xfe{}"),
    "a list": reply(b"[]"),
    "no outputs": reply(b"{}"),
    "outputs of null": reply(b'{"outputs": null}'),
    "one output": reply(b'{"outputs": [1, 2]}'),
    "nested": reply(b'{"outputs": ' + b"[" * 50_000),
    "an output missing": columns(token_ids=...),
    "bytes that are no base64": columns(text_bytes=[{"b64": "?"}]),
    "bytes that are text": columns(text_bytes=["the"]),
    "more rows": columns(num_tokens=[2, 2]),
    "no rows": columns(text=[], text_bytes=[], token_ids=[], num_tokens=[], finish_reason=[]),
    "a count that is text": columns(num_tokens=["2"]),
    "no lists": columns(text=5),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_is_an_error_of_the_client(modules, case):  # noqa: F811
    rest, _ = modules
    with server(GARBAGE[case]) as (url, asked):
        with pytest.raises(rest.ServingError, match=r"no answer of TF Serving|is not that of the"):
            rest.Client(url, retries=0, timeout=5).generate(TEXT)
        assert len(asked) == 1


def test_a_whole_answer_is_one(modules):  # noqa: F811
    with server(columns()) as (url, _):
        (answer,) = modules[0].Client(url).generate(TEXT)
    assert answer == ("the cat", b"the", [1, 2], "length")


CUT = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "nothing": b"",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    "a wrong chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("case", CUT)
def test_what_is_no_http_is_tried_again_and_told(modules, case):  # noqa: F811
    rest, _ = modules
    with server(CUT[case]) as (url, asked):
        with pytest.raises(rest.ServingError, match=r"Asked 2 times|no answer of TF Serving"):
            rest.Client(url, retries=1, pause=0.001, timeout=5).score(TEXT)
        assert 1 <= len(asked) <= 2


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary"])
def test_redirections_are_not_followed(modules, status):  # noqa: F811
    rest, _ = modules
    with server(columns()) as (elsewhere, asked):
        moved = reply(b"moved", status, [f"Location: {elsewhere}/v1/models/gpt2:predict"])
        message = rf"The server answered {status[:3]}: mov"
        with server(moved) as (url, _), pytest.raises(rest.ServingError, match=message):
            rest.Client(url, timeout=5).generate(TEXT)
        assert asked == []


def test_a_long_error_is_shortened(modules):  # noqa: F811
    rest, _ = modules
    with (
        server(reply(b"x" * 10**6, "500 Internal Server Error")) as (url, _),
        pytest.raises(rest.ServingError, match="The server answered 500: xxx") as caught,
    ):
        rest.Client(url, timeout=5).score(TEXT)
    assert len(str(caught.value)) < 1100


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_an_answer_without_an_end_is_left_in_time(modules, status):  # noqa: F811
    """A byte now and then: each is in time, the answer never is."""
    rest, _ = modules
    head = f"HTTP/1.1 {status}\r\nContent-Length: 100000\r\n\r\n".encode()
    begin = time.monotonic()
    with server(head, *[b" "] * 1000, hold=0.1) as (url, asked):
        with pytest.raises(rest.ServingError, match=r"within 0\.5 seconds|answered 500"):
            rest.Client(url, timeout=0.5).score(TEXT)
        assert len(asked) == 1
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
def test_an_answer_of_100_megabytes_is_not_read_to_its_end(modules, status):  # noqa: F811
    rest, _ = modules
    head = f"HTTP/1.1 {status}\r\nContent-Length: {100 * 2**20}\r\n\r\n".encode()
    with (
        server(head, *[bytes(2**20)] * 100) as (url, _),
        pytest.raises(rest.ServingError, match=r"more than 67108864 bytes"),
    ):
        rest.Client(url, timeout=30).score(TEXT)


@pytest.mark.parametrize("url", ["localhost:8501", "file:///etc/passwd", "ftp://localhost", ""])
def test_only_http_is_spoken(modules, url):  # noqa: F811
    with pytest.raises(modules[0].ServingError, match=r"is no address of http:// or https://"):
        modules[0].Client(url).score(TEXT)


@pytest.mark.parametrize("name", ["a b", "a/../b", "é", "a\nb", "a?x#y"])
def test_a_name_of_a_model_is_a_name_in_the_address(modules, name):  # noqa: F811
    with server(columns()) as (url, asked):
        modules[0].Client(url, name, timeout=5).generate(TEXT)
    line = asked[0].split(b"\r\n")[0].decode()
    assert (
        line == f"POST /v1/models/{modules[0].urllib.parse.quote(name, safe='')}:predict HTTP/1.1"
    )


def test_the_program_leaves_quietly_when_nobody_reads(modules):  # noqa: F811
    many = json.dumps({"outputs": {"text": ["x" * 9999] * 99, "text_bytes": [{"b64": ""}] * 99,
                                   "token_ids": [[1]] * 99, "num_tokens": [1] * 99,
                                   "finish_reason": ["end"] * 99}})  # fmt: skip
    with server(reply(many.encode())) as (url, _):
        command = [sys.executable, str(CLIENTS / "rest.py"), "--url", url, *["the cat"] * 99]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        program.stdout.read(10)
        program.stdout.close()
        errors = program.stderr.read()
        program.stderr.close()
        assert (program.wait(), errors) == (1, b"")


# gRPC.


@contextlib.contextmanager
def grpc_answers(answer):
    """A server whose every reply is the bytes that `answer` returns."""
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: answer())
    service = grpc.method_handlers_generic_handler(
        "tensorflow.serving.PredictionService", {"Predict": handler}
    )
    unlimited = [("grpc.max_send_message_length", -1)]
    running = grpc.server(futures.ThreadPoolExecutor(4), [service], options=unlimited)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        running.stop(None)


def tensors(**changes):
    message = predict_pb2.PredictResponse()
    for name, dtype in {"text": 7, **changes}.items():
        message.outputs[name].dtype = dtype
        message.outputs[name].tensor_shape.dim.add(size=3)
        message.outputs[name].string_val.append(b"\xff")
    return message.SerializeToString()


REPLIES = {
    "no protobuf": (lambda: b"\xff" * 99, r"answered INTERNAL|answered UNKNOWN"),
    "nothing": (lambda: b"", r"is not that of the signature"),
    "text that is no UTF-8": (tensors, r"tensors that are none of this model"),
    "an unknown dtype": (lambda: tensors(text=99), r"tensors that are none of this model"),
    "100 megabytes": (lambda: bytes(100 * 2**20), r"more than 67108864 bytes"),
    "hangs": (lambda: time.sleep(2) or b"", r"No answer from .* within 0\.5 seconds"),
}


@pytest.mark.parametrize("case", REPLIES)
def test_grpc_garbage_is_an_error_of_the_client(modules, case):  # noqa: F811
    rest, grpc_client = modules
    answer, message = REPLIES[case]
    with grpc_answers(answer) as address:
        timeout = 0.5 if case == "hangs" else 30
        client = grpc_client.GrpcClient(address, retries=0, timeout=timeout)
        with client.channel, pytest.raises(rest.ServingError, match=message):
            client.generate(TEXT)


def test_a_server_of_another_protocol_is_no_grpc_server(modules):  # noqa: F811
    rest, grpc_client = modules
    with server(reply(b"hello")) as (url, _):
        client = grpc_client.GrpcClient(url.removeprefix("http://"), retries=0, timeout=3)
        with client.channel, pytest.raises(rest.ServingError, match=r"busy|No answer"):
            client.generate(TEXT)
