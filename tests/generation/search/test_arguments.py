"""`generate` gives the searches what they need, and says what they do not take."""

import numpy as np
import pytest

from gpt2_keras.generation import (
    BeamSearch,
    ContrastiveSearch,
    Generation,
    LogitsProcessors,
    SpeculativeDecoding,
    cache_prefix,
)
from gpt2_keras.generation.search.results import search_texts
from tests.models import text_model

PROMPTS = ["the cat", "a"]


@pytest.fixture(scope="module")
def model():
    return text_model()


def texts_of(groups):
    return [row[0].prompt + row[0].text for row in groups]


def test_a_beam_search_returns_its_best_text_or_several(model):
    settings = {"max_new_tokens": 6}
    beams = search_texts(model, PROMPTS, BeamSearch(3), num_return_sequences=2, **settings)
    assert model.generate(PROMPTS, sampler=BeamSearch(3), **settings) == texts_of(beams)
    assert model.generate(PROMPTS[0], sampler=BeamSearch(3), **settings) == texts_of(beams)[0]
    several = {"sampler": BeamSearch(3), "num_return_sequences": 2, **settings}
    assert model.generate(PROMPTS, strip_prompt=True, **several) == [
        [beam.text for beam in row] for row in beams
    ]
    details = model.generate_details(PROMPTS[0], **several)
    assert all(isinstance(beam, Generation) for beam in details)
    assert details[0].score >= details[1].score


def test_names_stand_for_the_searches_with_their_defaults(model):
    beams = search_texts(model, PROMPTS, BeamSearch(), max_new_tokens=4)
    assert model.generate(PROMPTS, sampler="beam", max_new_tokens=4) == texts_of(beams)
    found = search_texts(model, PROMPTS, ContrastiveSearch(), max_new_tokens=4)
    assert model.generate(PROMPTS, sampler="contrastive", max_new_tokens=4) == texts_of(found)


def test_greedy_speculative_decoding_gives_the_text_of_the_model(model):
    draft = text_model(seed=7, num_layers=1)
    speculative = SpeculativeDecoding(draft, num_draft_tokens=3, temperature=0.0)
    texts = model.generate(PROMPTS, sampler=speculative, max_new_tokens=10)
    assert texts == model.generate(PROMPTS, max_new_tokens=10)
    sampled = SpeculativeDecoding(draft, num_draft_tokens=3)
    first, second = (
        model.generate(PROMPTS, sampler=sampled, max_new_tokens=10, seed=4) for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("search", ["beam", "contrastive", "speculative"])
def test_details_of_a_search_are_those_of_the_model(model, search):
    sampler = SpeculativeDecoding(text_model(seed=7)) if search == "speculative" else search
    settings = {"sampler": sampler, "max_new_tokens": 6}
    if search == "speculative":
        settings["seed"] = 1
    for prompt, found in zip(PROMPTS, model.generate_details(PROMPTS, **settings), strict=True):
        prompt_ids = model.tokenizer.encode(prompt)
        assert model.tokenizer.decode(found.token_ids) == found.text
        logits = np.array(model(np.array([prompt_ids + found.token_ids]))[0], "float64")
        logits = logits[len(prompt_ids) - 1 : -1]
        totals = np.log(np.exp(logits).sum(axis=1))
        expected = logits[np.arange(len(logits)), found.token_ids] - totals
        # Logits of up to 10, each of some 200 roundings of 6e-8 of that.
        np.testing.assert_allclose(found.log_probs, expected, rtol=0, atol=1e-4)
        assert found.finish_reason == ("length" if len(found.token_ids) == 6 else "end")
        assert (found.score is None) == (search != "beam")


@pytest.mark.parametrize(
    ("sampler", "arguments", "message"),
    [
        (BeamSearch(), {"seed": 0}, "^seed cannot be combined with sampler=BeamSearch"),
        (BeamSearch(), {"temperature": 0.0, "stop": "x"}, "^temperature, stop cannot"),
        (BeamSearch(), {"on_overflow": "sliding_window"}, "^on_overflow='sliding_window' cannot"),
        (
            ContrastiveSearch(),
            {"best_of": 2, "logits_processors": LogitsProcessors()},
            "^best_of, logits_processors cannot .*=ContrastiveSearch.* use a Sampler",
        ),
        (BeamSearch(), {"best_of": 2, "top_k": 1, "top_p": 0.5}, "^best_of, top_k, top_p cannot"),
        (BeamSearch(), {"stop_token_ids": [1]}, "^stop_token_ids cannot"),
        (BeamSearch(), {"jit_compile": True}, "^jit_compile cannot"),
    ],
)
def test_what_a_search_does_not_take_is_an_error(model, sampler, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate("a", sampler=sampler, **arguments)


def test_a_search_takes_no_prefix_cache(model):
    with pytest.raises(ValueError, match=r"^prefix_cache cannot be combined with"):
        model.generate("a", sampler="beam", prefix_cache=cache_prefix(model, "the cat"))
