"""`generate` hands the searches what they need and refuses what they cannot take."""

import pytest

from gpt2_keras.generation import Beam, BeamSearch, Contrastive, Rules, Speculative
from gpt2_keras.generation.search.beam_search import generate_beams
from gpt2_keras.generation.search.contrastive_search import generate_contrastive
from tests.models import text_model

PROMPTS = ["the cat", "a"]


@pytest.fixture(scope="module")
def model():
    return text_model()


def test_a_beam_search_returns_its_best_text_or_several(model):
    beams = generate_beams(model, PROMPTS, BeamSearch(3, num_results=2), max_new_tokens=6)
    best = [row[0].text for row in beams]
    assert model.generate(PROMPTS, sampler=BeamSearch(3), max_new_tokens=6) == best
    assert model.generate(PROMPTS[0], sampler=BeamSearch(3), max_new_tokens=6) == best[0]
    several = BeamSearch(3, num_results=2)
    texts = model.generate(PROMPTS, sampler=several, max_new_tokens=6)
    assert texts == [[beam.text for beam in row] for row in beams]
    details = model.generate(PROMPTS[0], sampler=several, max_new_tokens=6, return_details=True)
    assert all(isinstance(beam, Beam) for beam in details)
    assert details[0].score >= details[1].score


def test_names_stand_for_the_searches_with_their_defaults(model):
    beams = generate_beams(model, PROMPTS, BeamSearch(), max_new_tokens=4)
    named = model.generate(PROMPTS, sampler="beam", max_new_tokens=4)
    assert named == [row[0].text for row in beams]
    texts = generate_contrastive(model, PROMPTS, Contrastive(), max_new_tokens=4)
    assert model.generate(PROMPTS, sampler="contrastive", max_new_tokens=4) == texts


def test_a_greedy_speculation_says_what_the_model_says(model):
    draft = text_model(seed=7, num_layers=1)
    speculative = Speculative(draft, num_draft_tokens=3, temperature=0.0)
    texts = model.generate(PROMPTS, sampler=speculative, max_new_tokens=10)
    assert texts == model.generate(PROMPTS, max_new_tokens=10)
    drawn = Speculative(draft, num_draft_tokens=3)
    first, again = (
        model.generate(PROMPTS, sampler=drawn, max_new_tokens=10, seed=4) for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize(
    ("sampler", "arguments", "message"),
    [
        (BeamSearch(), {"seed": 0}, "BeamSearch has its own .*Received: seed. Leave"),
        (BeamSearch(), {"temperature": 0.0, "stop": "x"}, "Received: temperature, stop. Leave"),
        (Contrastive(), {"return_details": True}, "Contrastive .*Received: return_details"),
        (BeamSearch(), {"overflow": "slide"}, "Received: overflow. Leave"),
        (Contrastive(), {"num_samples": 2, "rules": Rules()}, "Received: num_samples, rules"),
        (BeamSearch(), {"best_of": 2, "top_k": 1, "top_p": 0.5}, "Received: top_k, top_p, best_of"),
    ],
)
def test_what_a_search_cannot_take_is_refused(model, sampler, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate("a", sampler=sampler, **arguments)
