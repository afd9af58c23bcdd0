"""The web page of `export/on_device/web`, used in a real browser; see its README."""

import functools
import http.server
import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2_keras.understanding import explore
from tests.models import text_model
from tests.understanding.browser import NODE, WEB, needs_browser
from tests.understanding.browser import use as use_panels

pytestmark = [pytest.mark.slow, needs_browser]

PROMPT = "the cat"
NEW_TOKENS = 12


class Site(http.server.SimpleHTTPRequestHandler):
    """The page's folder, and a model file beside it."""

    def __init__(self, *args: Any, model: Path, **kwargs: Any) -> None:
        self.model = model
        super().__init__(*args, directory=str(WEB), **kwargs)

    def translate_path(self, path: str) -> str:
        return str(self.model) if path == "/model.tflite" else super().translate_path(path)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "model.tflite"
    return model.export(path, format="litert", certificate=False, with_explore=True)


@pytest.fixture(scope="module")
def site(file):
    """The address of the page with the model, served from this machine."""
    handler = functools.partial(Site, model=file)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def use(address, prompt, count=NEW_TOKENS, file=""):
    """What the page shows to one who types a prompt, clicks the second candidate, and writes."""
    program = [NODE, str(WEB / "test" / "drive.mjs"), address, prompt, str(count), str(file)]
    result = subprocess.run(
        program, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def seen(site):
    return use(site + "?model=model.tflite", PROMPT)


def same_candidates(shown, expected):
    assert [candidate["id"] for candidate in shown] == [candidate.id for candidate in expected]
    assert [candidate["probability"] for candidate in shown] == pytest.approx(
        [candidate.probability for candidate in expected], rel=1e-4
    )


def test_it_says_what_it_has_loaded(seen):
    assert "2 layers of 16, 280 tokens, context 64, float32" in seen["about"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("greedy", {"temperature": 0.0}),
        ("sampled", {"temperature": 1.3, "seed": -7}),
        ("top_k", {"temperature": 0.8, "top_k": 40, "seed": 3}),
    ],
)
def test_it_writes_what_the_model_writes(seen, model, name, settings):
    expected = model.generate(PROMPT, max_new_tokens=NEW_TOKENS, **settings)
    assert seen["written"][name]["text"] == expected
    assert f"{NEW_TOKENS} tokens" in seen["written"][name]["status"]


def test_it_shows_the_ten_most_likely_tokens_with_their_probabilities(seen, model):
    same_candidates(seen["before"]["candidates"], model.next_tokens(PROMPT, k=10))
    probability = model.next_tokens(PROMPT, k=1)[0].probability
    assert seen["before"]["candidates"][0]["text"].endswith(f"{probability:.1%}".replace("%", " %"))


def test_a_click_on_a_token_goes_on_with_it(seen, model):
    second = model.next_tokens(PROMPT, k=2)[1]
    assert seen["afterClick"]["text"] == PROMPT + second.text
    # Its text is ASCII here, so that the tokens of the longer text are those on the page.
    longer = [*model.tokenizer.encode(PROMPT), second.id]
    assert model.tokenizer.encode(PROMPT + second.text) == longer
    same_candidates(seen["afterClick"]["candidates"], model.next_tokens(PROMPT + second.text, k=10))


def test_nothing_but_files_of_the_page_is_asked_for(seen, site):
    assert seen["errors"] == []
    assert all(request.startswith(f"GET {site}") for request in seen["requests"])


@pytest.mark.parametrize("prompt", ["", "é𝄞\n\n x " * 3])
def test_with_a_chosen_file_it_writes_until_the_context_is_full(site, file, model, prompt):
    greedy = use(site, prompt, count=70, file=file)["written"]["greedy"]
    room = model.config.context_length - max(1, len(model.tokenizer.encode(prompt)))
    assert greedy["text"] == model.generate(prompt, max_new_tokens=room)
    assert greedy["status"].startswith(f"{room} tokens")
    assert greedy["status"].endswith("the context is full.")
    assert greedy["candidates"] == []


LOADED = 'body[aria-busy="false"] #look:enabled'


def test_it_looks_inside_as_keras_does(site, model):
    seen = use_panels(
        site + "?model=model.tflite",
        {"wait": LOADED},
        {"fill": ["#prompt", PROMPT]},
        {"wait": LOADED},
        {"click": "#look"},
        {"wait": "#explorer #lens"},
        {"wait": LOADED},
        {"read": "whole"},
        {"click": '#text [data-index="2"]'},
        {"read": "chosen"},
        {"click": "#candidates li:nth-child(3) button"},
        {"wait": 'body[data-position="2"]'},
        {"wait": LOADED},
        {"read": "longer"},
    )
    assert all(request.startswith(f"GET {site}") for request in seen["requests"])
    read, expected = seen["read"], explore(model, PROMPT)
    assert read["whole"]["heading"] == "model.tflite"
    assert_shows(read["whole"], expected, len(expected.token_ids) - 1)
    assert_shows(read["chosen"], expected, 1)
    assert read["chosen"]["ablation"] == []  # what a file cannot compute is not there
    third = int(expected.candidate_ids[1, 2])
    longer = explore(model, [*expected.token_ids[:2].tolist(), third])
    assert_shows(read["longer"], longer, 2)
    assert read["longer"]["prompt"] == model.tokenizer.decode(longer.token_ids[1:].tolist())


def assert_shows(shown, exploration, position):
    """Holds what the panels show against Keras."""
    assert shown["position"] == position
    candidates = [each for each in shown["candidates"] if each["rank"] <= 10]
    assert [each["id"] for each in candidates] == exploration.candidate_ids[position].tolist()
    np.testing.assert_allclose(
        [each["probability"] for each in candidates],
        exploration.candidate_probs[position],
        rtol=1e-3,
    )
    ranks = ", ".join(map(str, exploration.lens.ranks[:, position]))
    assert shown["ranks"] == f"Rank at each step: {ranks}"
    row = exploration.attention[0, 0, position, : position + 1].astype("float64")
    for key, weight in shown["looksAt"]:
        assert weight == pytest.approx(row[key], abs=1e-3)
    assert len(shown["tokens"]) == len(exploration.token_ids) + 1
    assert min(shown["colours"]) > 2


def test_a_file_without_the_signature_is_not_looked_into(model, tmp_path):
    path = model.export(tmp_path / "plain.tflite", format="litert", certificate=False)
    handler = functools.partial(Site, model=path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/?model=model.tflite"
        seen = use_panels(address, {"wait": "#write:enabled"}, {"wait": "#look:disabled"})
        server.shutdown()
    assert seen["errors"] == []


def test_a_file_that_is_no_model_of_ours_is_told(site):
    seen = use(site + "?model=index.html", PROMPT)
    assert "index.html: not a .tflite file" in seen["about"]
    assert seen["before"]["candidates"] == []
    assert "no-such.tflite: 404" in use(site + "?model=no-such.tflite", PROMPT)["about"]
