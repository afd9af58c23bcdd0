"""The clients a user copies, against servers that answer in TF Serving's published forms."""

import ast
import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest

from gpt2_keras.generation import Sampler
from tests.export.serving_double import (
    RestServer,
    grpc_server,
    loaded_signatures,
    served_model,
)

CLIENTS = Path(__file__).resolve().parents[2] / "export" / "tf_serving" / "clients"
PROMPTS = ["the cat", "it's 42, the dog sat on the log"]
TRANSIENT = {
    "rest": [503, "reset", 429],
    "grpc": [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED],
}


@pytest.fixture(scope="module")
def modules():
    """`rest` and `grpc_client`, imported as from the folder they are copied to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CLIENTS)
        return importlib.import_module("rest"), importlib.import_module("grpc_client")


@pytest.fixture(scope="module")
def model():
    return served_model()[0]


@pytest.fixture
def signatures():
    return loaded_signatures(served_model()[1])


@pytest.fixture(params=["rest", "grpc"])
def connect(request, modules, signatures):
    """Opens a client to a new server; gives both, the server's requests as a list."""
    rest, grpc_client = modules

    @contextlib.contextmanager
    def opened(failures=(), **settings):
        settings = {"pause": 0.001} | settings
        if request.param == "rest":
            with RestServer(signatures, failures) as server:
                yield rest.Client(server.url, **settings), server.bodies
        else:
            with grpc_server(signatures, failures) as (address, service):
                client = grpc_client.GrpcClient(address, **settings)
                yield client, service.requests
                client.channel.close()

    opened.protocol = request.param
    return opened


def test_generate_says_what_the_model_says_with_each_row_s_own_parameters(connect, model):
    with connect() as (client, _):
        answers = client.generate(
            PROMPTS,
            max_new_tokens=[3, 9],
            temperature=[0, 1.3],
            top_k=4,
            top_p=0.9,
            repetition_penalty=1.2,
            seed=[0, -5],
        )
    for row, answer in enumerate(answers):
        sampler = Sampler([0.0, 1.3][row], top_k=4, top_p=0.9, repetition_penalty=1.2)
        expected = model.generate_details(
            PROMPTS[row],
            sampler=sampler,
            max_new_tokens=[3, 9][row],
            seed=[0, -5][row],
        )
        assert answer.text == PROMPTS[row] + expected.text
        assert answer.token_ids == expected.token_ids
        assert answer.finish_reason == expected.finish_reason
        new_bytes = model.tokenizer.decode_bytes(expected.token_ids)
        assert answer.text_bytes == PROMPTS[row].encode() + new_bytes


def test_score_and_next_token_say_what_the_model_says(connect, model):
    with connect() as (client, _):
        scores, candidates = client.score(PROMPTS), client.next_token(PROMPTS)
    for score, expected in zip(scores, model.score(PROMPTS), strict=True):
        assert score.token_ids == expected.token_ids
        np.testing.assert_allclose(score.log_probs, expected.log_probs, atol=1e-5)
    for row, prompt in zip(candidates, PROMPTS, strict=True):
        expected = model.next_tokens(prompt)
        assert [c.token_id for c in row] == [c.id for c in expected]
        assert [c.text for c in row] == [c.text for c in expected]
        assert [c.token_bytes for c in row] == [
            model.tokenizer.decode_bytes([c.id]) for c in expected
        ]
        probabilities = [c.probability for c in expected]
        np.testing.assert_allclose([c.probability for c in row], probabilities, rtol=1e-5)


def test_a_busy_server_is_asked_again(connect):
    failures = TRANSIENT[connect.protocol]
    with connect(failures) as (client, requests):
        assert client.score(["the cat"])[0].token_ids
        assert len(requests) == len(failures) + 1
        assert requests[0] == requests[-1]


def test_a_server_that_stays_busy_is_given_up(connect):
    with connect(TRANSIENT[connect.protocol][:1] * 3, retries=2) as (client, requests):
        with pytest.raises(Exception, match=r"busy \(.*\): told to fail. Asked 3 times."):
            client.score(["the cat"])
        assert len(requests) == 3


def test_pauses_grow_and_have_a_limit(modules, monkeypatch):
    rest, _ = modules
    pauses = []
    monkeypatch.setattr(rest.time, "sleep", pauses.append)
    monkeypatch.setattr(rest.random, "uniform", lambda low, high: high)
    with RestServer({}) as server:
        url = server.url
    with pytest.raises(rest.ServingError, match=rf"No answer from {url}: .*refused. Asked 5 times"):
        rest.Client(url, retries=4, pause=2.0).score(["the cat"])
    assert pauses == [2.0, 4.0, 8.0, 10.0]


def test_a_request_that_breaks_a_rule_is_not_repeated(connect, modules):
    with connect() as (client, requests):
        with pytest.raises(modules[0].RequestRefusedError) as refusal:
            client.generate(["the", ""], max_new_tokens=4)  # else two rules are broken
        assert len(requests) == 1
    sentence = "text is empty in rows [1]. Send at least one byte per text."
    assert str(refusal.value) == sentence


def test_a_slow_answer_is_not_waited_for_nor_asked_for_again(connect, modules):
    with connect([1.0], timeout=0.2) as (client, requests):
        with pytest.raises(modules[0].ServingError, match=r"within 0\.2 seconds"):
            client.score(["the cat"])
        assert len(requests) == 1


def test_other_failures_are_told_at_once(connect, modules):
    with connect(model="gpt3") as (client, requests):
        with pytest.raises(modules[0].ServingError, match=r"answered (404|NOT_FOUND): Serv"):
            client.score(["the cat"])
        assert len(requests) == 1


def test_a_reply_that_is_no_json_is_told_as_it_is(modules):
    rest, _ = modules
    error = rest._error_of_reply(502, b"<h1>Bad gateway</h1>")
    assert str(error) == "The server answered 502: <h1>Bad gateway</h1>"


def test_retries_below_0_are_an_error(modules):
    with pytest.raises(ValueError, match=r"at least 0. Received: retries=-1"):
        modules[0].Client(retries=-1).score(["the cat"])


def test_a_request_has_the_published_form(modules, signatures):
    with RestServer(signatures) as server:
        modules[0].Client(server.url).generate(["the cat", "é"], max_new_tokens=2, top_k=[3, 4])
        (body,) = server.bodies
    assert json.loads(body) == {
        "signature_name": "generate",
        "inputs": {
            "text": ["the cat", "é"],
            "max_new_tokens": [2, 2],
            "temperature": [0.0, 0.0],
            "top_k": [3, 4],
            "top_p": [1.0, 1.0],
            "repetition_penalty": [1.0, 1.0],
            "seed": [0, 0],
        },
    }


def test_a_stream_says_what_the_model_says(connect, model):
    expected = model.generate(PROMPTS[0], max_new_tokens=12, temperature=0.9, seed=4)
    settings = {"max_new_tokens": 12, "temperature": 0.9, "seed": 4}
    with connect() as (client, requests):
        assert PROMPTS[0] + "".join(client.stream(PROMPTS[0], **settings)) == expected
        assert len(requests) == 1
        by_hand = PROMPTS[1]
        for _ in range(3):
            by_hand = model.generate(by_hand, max_new_tokens=4)
        deltas = list(client.stream(PROMPTS[1], max_new_tokens=12, chunk_size=4))
        assert PROMPTS[1] + "".join(deltas) == by_hand
        assert len(deltas) == 3


def test_a_stream_of_the_model_ends_when_the_context_is_full(connect, modules):
    with connect() as (client, _):
        text = PROMPTS[0] + "".join(client.stream(PROMPTS[0], max_new_tokens=1000))
        assert len(text) > len(PROMPTS[0])
        with pytest.raises(
            modules[0].RequestRefusedError, match="do not fit into the context of 64 tokens"
        ):
            client.generate([text], max_new_tokens=1)


# The programs.


def run_rest(*arguments):
    command = [sys.executable, str(CLIENTS / "rest.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")


def test_the_program_prints_the_answers(model, signatures):
    expected = model.generate(PROMPTS, max_new_tokens=5)
    with RestServer(signatures) as server:
        url = ["--url", server.url, "--max-new-tokens", "5"]
        generated = run_rest(*url, *PROMPTS)
        assert (generated.stdout, generated.returncode) == ("\n".join(expected) + "\n", 0)
        streamed = run_rest(*url, "--task", "stream", PROMPTS[0])
        assert streamed.stdout == expected[0] + "\n"
        scored = json.loads(run_rest(*url, "--task", "score", PROMPTS[0]).stdout)
        assert scored["token_ids"] == model.tokenizer.encode(PROMPTS[0])
        candidates = json.loads(run_rest(*url, "--task", "next_token", PROMPTS[0]).stdout)
        assert next(iter(candidates)) == model.next_tokens(PROMPTS[0], k=1)[0].text


def test_the_program_shows_a_mistake_in_one_sentence(signatures):
    with RestServer(signatures) as server:
        failed = run_rest("--url", server.url, "--max-new-tokens", "0", "the cat")
    assert failed.returncode == 1
    assert failed.stderr == "max_new_tokens=[0] is less than 1. Use integers of at least 1.\n"
    assert run_rest("--task", "dance", "the cat").returncode == 2


def test_the_grpc_program_is_the_same_over_grpc(modules, model, signatures, capsys, monkeypatch):
    rest, grpc_client = modules
    with grpc_server(signatures) as (address, _):
        words = ["grpc_client.py", "--url", address, "--max-new-tokens", "5", PROMPTS[0]]
        monkeypatch.setattr(sys, "argv", words)
        assert rest.main(grpc_client.GrpcClient) == 0
    assert capsys.readouterr().out == model.generate(PROMPTS[0], max_new_tokens=5) + "\n"


def test_the_rest_client_needs_the_standard_library_alone():
    tree = ast.parse((CLIENTS / "rest.py").read_text(encoding="utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
