import http.client
import json
import re
import socket
import threading
import time

import pytest

from gpt2_keras.understanding import explore
from gpt2_keras.understanding.server import ExplorerServer, serving
from tests.models import text_model

TEXT = "the cat sat"


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture(scope="module")
def server(model):
    it = ExplorerServer({"mine": model}, TEXT)
    with serving(it):
        yield it


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def post(server, path, request, **headers):
    body = request if isinstance(request, bytes) else json.dumps(request)
    answer, data = ask(server, "POST", path, body, Content_Type="application/json", **headers)
    return answer.status, json.loads(data)


def test_the_page_is_served_to_this_machine_alone(server):
    answer, body = ask(server, "GET", "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = body.decode()
    assert 'data-mode="live"' in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["text"] == TEXT
    assert data["explorations"][0]["model"] == "mine"
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_text_is_explored_and_goes_on_with_a_token(server, model):
    status, answer = post(server, "/explore", {"text": "the dog"})
    assert status == 200
    expected = explore(model, "the dog")
    assert answer["explorations"][0]["ids"] == expected.token_ids.tolist()
    assert answer["text"] == "the dog"
    assert answer["seconds"] > 0
    ids = [*expected.token_ids.tolist(), model.tokenizer.encode(" sat")[0]]
    status, answer = post(server, "/explore", {"ids": ids})
    assert (status, answer["text"]) == (200, "the dog sat")
    assert answer["explorations"][0]["ids"] == ids


def test_a_prediction_is_explained_against_a_foil(server, model):
    ids = explore(model, TEXT).token_ids.tolist()
    foil = model.tokenizer.encode(" on")[0]
    status, answer = post(server, "/panels", {"ids": ids, "position": 2, "foil": " on"})
    assert status == 200
    panels = answer["explorations"][0]["panels"]
    assert panels["positions"] == [2]
    assert panels["foils"][2] == foil
    status, answer = post(server, "/panels", {"ids": ids})
    assert answer["explorations"][0]["panels"]["positions"] == [len(ids) - 1]


def test_what_takes_long_gives_way_to_the_next_request(server, model, monkeypatch):
    ids = explore(model, TEXT).token_ids.tolist()
    answers = {}

    def ask_meanwhile(*arguments, on_progress, **options):
        number = server._newest
        on_progress(1, 9)  # nobody has asked
        later = threading.Thread(
            target=lambda: answers.update(later=post(server, "/explore", {"text": "a"}))
        )
        later.start()
        wait_until(lambda: server._newest != number)
        on_progress(2, 9)
        raise AssertionError

    monkeypatch.setattr("gpt2_keras.understanding.server.with_panels", ask_meanwhile)
    status, answer = post(server, "/panels", {"ids": ids})
    assert (status, answer["error"]) == (409, "Another request came meanwhile. Ask again.")
    wait_until(lambda: "later" in answers)
    assert answers["later"][0] == 200


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def test_several_models_answer_together(model):
    two = ExplorerServer({"one": model, "two": text_model(1, context_length=64)}, TEXT)
    try:
        answer = two.answer("/explore", {"text": "a dog"})
    finally:
        two.server_close()
    assert [each["model"] for each in answer["explorations"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("path", "request_", "status", "message"),
    [
        ("/explore", {"text": ""}, 400, "text='' has no token"),
        ("/explore", {}, 400, "neither text nor ids"),
        ("/explore", {"text": 3}, 400, "text=3 is an int"),
        ("/explore", {"ids": [1, "2"]}, 400, "ids[1]='2'"),
        ("/explore", {"ids": [999]}, 400, "ids[0]=999 is greater than 279"),
        ("/explore", {"text": "cat " * 99}, 400, "context_length=64"),
        ("/panels", {"text": TEXT, "position": 99}, 400, "positions[0]=99"),
        ("/panels", {"text": TEXT, "foil": "catdog"}, 400, "foil='catdog'"),
        ("/other", {"text": TEXT}, 404, "/other is not there. Ask for /explore or /panels."),
        ("/explore", [1], 400, "The request is [1]. Send an object."),
        ("/explore", b"{", 400, "no JSON"),
        ("/explore", b"\xff", 400, "no JSON"),
        ("/explore", b"[" * 100_000, 400, "no JSON: Nested too deeply"),
    ],
)
def test_what_cannot_be_computed_is_told(server, path, request_, status, message):
    found, answer = post(server, path, request_)
    assert found == status
    assert message in answer["error"]


def test_halves_of_characters_and_control_characters_are_read(server):
    for text in ("\ud83d", "a\x00b", "</script>"):
        status, answer = post(server, "/explore", {"text": text})
        assert status == 200, answer


def test_other_hosts_and_sites_are_sent_away(server):
    port = server.server_port
    for method, path in (("GET", "/"), ("POST", "/explore")):
        for host in ("example.com", f"example.com:{port}", "127.0.0.1", "127.0.0.1:1"):
            answer, body = ask(server, method, path, b"{}", Host=host)
            assert answer.status == 403
            assert f"Host '{host}' is not this server" in json.loads(body)["error"]
        answer, body = ask(server, method, path, b"{}", Origin="http://example.com")
        assert answer.status == 403
        assert "Origin 'http://example.com' is another site" in json.loads(body)["error"]
    assert ask(server, "GET", "/", Host=f"localhost:{port}")[0].status == 200
    status, _ = post(server, "/explore", {"text": "a"}, Origin=f"http://localhost:{port}")
    assert status == 200


def test_requests_of_other_forms_are_told(server):
    answer, body = ask(server, "GET", "/secret")
    assert answer.status == 404
    assert "/secret is not there. The page is /." in body.decode()
    answer, body = ask(server, "POST", "/explore", b"{}", Content_Type="text/plain")
    assert (answer.status, "text/plain" in body.decode()) == (415, True)
    big = {"Content_Type": "application/json", "Content_Length": str(2**21)}
    answer, body = ask(server, "POST", "/explore", b"", **big)
    assert answer.status == 413
    assert "2097152 bytes. At most 1048576" in body.decode()
    wrong = {"Content_Type": "application/json", "Content_Length": "many"}
    assert ask(server, "POST", "/explore", b"", **wrong)[0].status == 411
    assert ask(server, "GET", "/")[0].status == 200


def test_a_port_that_is_taken_is_told(model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 cannot be used: Address"):
            ExplorerServer({"mine": model}, TEXT, port)
    with pytest.raises(ValueError, match="port=70000"):
        ExplorerServer({"mine": model}, TEXT, 70000)
