"""What the errors of generation and scoring advise, done."""

import ast

import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation import (
    BeamSearch,
    LogitsProcessors,
    Sampler,
    SpeculativeDecoding,
    cache_prefix,
)
from tests.advice.following import follow, told
from tests.models import TINY, random_model, text_model

LONG = "the cat sat on the mat, and the dog sat on the log. it's 42"


@pytest.fixture(scope="module")
def model():
    return text_model()


def test_several_texts_of_greedy_decoding(model):
    def generate(**changes):
        return model.generate("the", max_new_tokens=2, num_return_sequences=2, **changes)

    assert len(follow(generate, "Set, for example, temperature=1.0.")) == 2


def test_a_search_that_cannot_be_streamed(model):
    def stream(**changes):
        return "".join(model.stream("the", max_new_tokens=2, **changes))

    advice = "Use a Sampler, or `generate`."
    told(lambda: stream(sampler=BeamSearch(num_beams=2)), advice)
    assert stream(sampler=Sampler(temperature=1.0))
    assert model.generate("the", max_new_tokens=2, sampler=BeamSearch(num_beams=2))


def test_settings_of_a_sampler_beside_a_search(model):
    def generate(**changes):
        return model.generate("the", max_new_tokens=2, **changes)

    search = BeamSearch(num_beams=2)
    advice = "Leave them out, or use a Sampler, which takes all of them."
    told(lambda: generate(sampler=search, temperature=0.5), advice)
    assert generate(sampler=search)
    assert generate(sampler=Sampler(temperature=0.5))


def test_a_list_of_prompts_for_a_stream(model):
    told(lambda: next(model.stream(["the", "a"])), "`generate` takes several texts.")
    assert len(model.generate(["the", "a"], max_new_tokens=2)) == 2


@pytest.mark.parametrize("remedy", [{"max_new_tokens": 2}, {"on_overflow": "truncate"}])
def test_a_prompt_that_does_not_fit(model, remedy):
    prompt = LONG[:41]
    assert 12 < len(model.tokenizer.encode(prompt)) < 31
    told(
        lambda: model.generate(prompt, max_new_tokens=20),
        "ask for fewer new tokens, or set on_overflow='truncate' to drop its beginning.",
    )
    assert model.generate(prompt, **{"max_new_tokens": 20} | remedy)


def test_no_room_for_a_prompt(model):
    def generate(max_new_tokens, **changes):
        return model.generate("the", max_new_tokens=max_new_tokens, **changes)

    told(lambda: generate(32), "Use at most 31, or on_overflow='sliding_window'.")
    assert generate(31)
    assert generate(32, on_overflow="sliding_window")


def test_no_room_after_a_prefix(model):
    prefix = cache_prefix(model, "the cat sat")
    used = len(model.tokenizer.encode("the cat sat"))

    def generate(max_new_tokens):
        return model.generate(" on", prefix_cache=prefix, max_new_tokens=max_new_tokens)

    told(lambda: generate(32), f"Use at most {31 - used}, or ")
    assert generate(31 - used)


def test_a_prefix_that_is_too_long_or_empty(model):
    advice = "Leave an empty prefix out; shorten a long one."
    told(lambda: cache_prefix(model, LONG * 3), advice)
    told(lambda: cache_prefix(model, ""), advice)
    assert model.generate("the", prefix_cache=cache_prefix(model, LONG[:10]), max_new_tokens=2)


def test_nothing_to_ban_or_to_stop_at():
    told(lambda: LogitsProcessors(bad_words_ids=[[]]), "Leave it out for none.")
    LogitsProcessors()
    told(lambda: LogitsProcessors(logit_bias={3: float("nan")}), "-math.inf bans the id.")
    LogitsProcessors(logit_bias={3: float("-inf")})


@pytest.mark.parametrize(
    "field", ["top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size"]
)
def test_the_value_without_effect(field, model):
    def sample(**fields):
        return model.generate("the", max_new_tokens=4, seed=3, sampler=Sampler(**fields))

    with pytest.raises(ValueError, match=r"[\d.]+ has no effect\.$") as error:
        Sampler(**{field: -1})
    value = str(error.value).removesuffix(" has no effect.").rsplit(" ", 1)[1]
    assert sample(**{field: ast.literal_eval(value)}) == sample()


def test_a_draft_model_of_another_vocabulary(model):
    def generate(draft):
        search = SpeculativeDecoding(draft, temperature=0.0)
        return model.generate("the", max_new_tokens=3, sampler=search)

    other = random_model(GPT2Config(**{**TINY.to_dict(), "vocab_size": 300}))
    told(lambda: generate(other), "Use a draft model that was trained with the same tokenizer.")
    assert generate(text_model(num_layers=1)) == model.generate("the", max_new_tokens=3)


def test_seeds_for_some_of_the_rows(model):
    def generate(seed):
        return model.generate(["the", "a", "it"], max_new_tokens=2, temperature=1.0, seed=seed)

    told(lambda: generate([1, 2]), "Give one seed, or one for each row.")
    assert len(generate(1)) == len(generate([1, 2, 3])) == 3


def test_more_texts_than_beams(model):
    def generate(num_beams):
        return model.generate(
            "the",
            max_new_tokens=2,
            num_return_sequences=3,
            sampler=BeamSearch(num_beams=num_beams),
        )

    told(lambda: generate(2), "Raise num_beams for more texts.")
    assert len(generate(3)) == 3


def test_a_text_that_is_too_long_to_score(model):
    told(lambda: model.score(LONG * 2), "Score it in chunks.")
    ids = model.tokenizer.encode(LONG * 2)
    chunks = [model.tokenizer.decode(ids[at : at + 31]) for at in range(0, len(ids), 31)]
    assert len(model.score(chunks)) == len(chunks)
