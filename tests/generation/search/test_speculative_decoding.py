import itertools
import math

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation.compiled import cached_function
from gpt2_keras.generation.sampler import Sampler, sampling_tensors
from gpt2_keras.generation.search.results import SearchRequest, search_texts
from gpt2_keras.generation.search.speculative_decoding import SpeculativeDecoding
from gpt2_keras.generation.search.speculative_graph import _check, speculative_sample
from tests.models import random_model, text_model

VOCAB, END = 5, 4
SMALL = GPT2Config(
    vocab_size=VOCAB, context_length=24, num_layers=2, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
TINY = GPT2Config(**{**SMALL.to_dict(), "num_layers": 1, "hidden_dim": 4})
PROMPTS = [[1, 2, 3], [2], [0, 3, 2, 1, 3], [0, 0]]
SAMPLES = 20_000


@pytest.fixture(scope="module")
def model():
    return random_model(SMALL, seed=2)


@pytest.fixture(scope="module")
def draft():
    return random_model(TINY, seed=7)


def padded(prompts):
    time = max(map(len, prompts))
    token_ids = np.array([[0] * (time - len(row)) + row for row in prompts], "int32")
    return token_ids, np.array([len(row) for row in prompts], "int32")


def sample(model, prompts, settings, max_new_tokens, seeds=None, end=END):
    """The new ids of each prompt, before the end."""
    seeds = np.arange(len(prompts), dtype="int32") if seeds is None else seeds
    found = settings.run(
        model,
        SearchRequest(
            *padded(prompts),
            max_new_tokens=max_new_tokens,
            end_token_ids=(end,),
            seeds=np.asarray(seeds, "int32"),
        ),
    )
    ids, counts = found.token_ids[:, 0], found.num_tokens[:, 0]
    assert ids.shape == (len(prompts), max_new_tokens)
    assert all((row[count:] == end).all() for row, count in zip(ids, counts, strict=True))
    return [row[:count].tolist() for row, count in zip(ids, counts, strict=True)]


def probs_by_definition(model, sequences, temperature, top_k, top_p):
    """The distribution after each of several sequences of one length, by the full pass."""
    logits = np.array(model(np.array(sequences))[:, -1], "float64") / temperature
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for probs in table:
        order = np.argsort(-probs)
        probs[order[top_k or VOCAB :]] = 0
        probs /= probs.sum()
        before = np.cumsum(probs[order]) - probs[order]
        probs[order[before >= top_p]] = 0
    return table / table.sum(axis=1, keepdims=True)


def texts_by_definition(model, prompt, count, *numbers):
    """The probability of every text of up to `count` tokens, sampled from the model alone."""
    texts, live = {}, {(): 1.0}
    for _ in range(count):
        table = probs_by_definition(model, [[*prompt, *new] for new in live], *numbers)
        grown = {}
        for (new, probability), probs in zip(live.items(), table, strict=True):
            texts[new] = probability * probs[END]
            grown |= {(*new, token): probability * probs[token] for token in range(END)}
        live = {text: probability for text, probability in grown.items() if probability}
    return {text: probability for text, probability in {**texts, **live}.items() if probability}


def limit(degrees):
    """The 99.99 % point of chi-square (Wilson and Hilferty, 1931)."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + 3.719 * math.sqrt(part)) ** 3


@pytest.mark.parametrize(
    ("num_draft_tokens", "numbers"),
    [(1, (1.0, 0, 1.0)), (2, (0.7, 0, 1.0)), (4, (1.5, 3, 1.0)), (2, (1.0, 0, 0.7))],
)
def test_texts_have_the_distribution_of_samples_of_the_model_alone(
    model, draft, num_draft_tokens, numbers
):
    # Three tokens: the first is the prefill's, the others a round's or of two rounds.
    expected = texts_by_definition(model, PROMPTS[0], 3, *numbers)
    settings = SpeculativeDecoding(draft, num_draft_tokens, *numbers)
    seeds = np.arange(SAMPLES) * 7919
    found = sample(model, [PROMPTS[0]] * SAMPLES, settings, 3, seeds)
    counts = dict.fromkeys(expected, 0)
    for new in found:
        counts[tuple(new)] += 1  # a KeyError for a text that cannot be
    common = [text for text, probability in expected.items() if probability * SAMPLES >= 5]
    rare = SAMPLES - sum(expected[text] * SAMPLES for text in common)
    chi_square = sum(
        (counts[t] - expected[t] * SAMPLES) ** 2 / (expected[t] * SAMPLES) for t in common
    )
    assert len(common) > 5
    assert chi_square < limit(len(common) - 1)
    assert abs(SAMPLES - sum(counts[text] for text in common) - rare) <= 4 * math.sqrt(rare + 1)


def test_the_models_of_these_tests_differ(model, draft):
    numbers = (1.0, 0, 1.0)
    ours, theirs = (probs_by_definition(each, [PROMPTS[0]], *numbers) for each in (model, draft))
    assert np.abs(ours - theirs).sum() > 0.3


def is_greedy(model, prompt, new, max_new_tokens, end=END):
    """Whether each token is the most_likely after those before it, by one full pass."""
    most_likely = np.argmax(model(np.array([prompt + new]))[0, len(prompt) - 1 :], axis=1).tolist()
    complete = len(new) == max_new_tokens
    return (
        most_likely[: len(new)] == new and (complete or most_likely[-1] == end) and end not in new
    )


@pytest.fixture(scope="module")
def close_pair():
    """A model, and a draft model that is right at times: the same with noise."""
    config = GPT2Config(**{**SMALL.to_dict(), "vocab_size": 30})
    model, draft = random_model(config, seed=2), random_model(config, seed=2)
    random = np.random.default_rng(0)
    for variable in draft.trainable_variables:
        variable.assign_add(random.normal(size=variable.shape) * 0.08)
    return model, draft


@pytest.mark.parametrize("num_draft_tokens", [1, 3, 6])
def test_at_temperature_zero_the_tokens_are_the_most_likely_of_the_model(
    close_pair, num_draft_tokens
):
    model, draft = close_pair
    settings = SpeculativeDecoding(draft, num_draft_tokens, temperature=0.0)
    # Prompt and new tokens fill the context, so that proposals go beyond it.
    found = sample(model, PROMPTS, settings, 19, end=29)
    for prompt, new in zip(PROMPTS, found, strict=True):
        assert is_greedy(model, prompt, new, 19, end=29)
    ours_are_theirs = [
        is_greedy(draft, prompt, new, 19, end=29)
        for prompt, new in zip(PROMPTS, found, strict=True)
    ]
    assert not all(ours_are_theirs)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draft_model_equal_to_the_model_has_all_its_proposals_taken(model, temperature):
    sampling = sampling_tensors(
        SpeculativeDecoding(model, temperature=temperature).sampler, np.arange(4)
    )
    sampling = sampling._replace(seed=np.arange(4, dtype="int32"))
    *_, num_rounds = speculative_sample(
        model,
        model,
        *padded(PROMPTS),
        sampling,
        num_draft_tokens=4,
        max_new_tokens=13,
        end_token_ids=(-1,),  # which is never sampled
    )
    assert num_rounds == 3  # one token of the prefill, and 4 + 1 per round


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_of_a_batch_gets_the_tokens_it_gets_alone(model, draft, temperature):
    settings = SpeculativeDecoding(draft, 3, temperature=temperature)
    seeds = [11, 12, 13, 14]
    together = sample(model, PROMPTS, settings, 16, seeds)
    assert len(set(map(len, together))) > 1
    for prompt, seed, new in zip(PROMPTS, seeds, together, strict=True):
        assert sample(model, [prompt], settings, 16, [seed]) == [new]


def test_a_seed_makes_sampling_repeatable_and_another_changes_it(close_pair):
    model, draft = close_pair
    samples = sample(model, [[1]] * 4, SpeculativeDecoding(draft), 16, [1, 1, 2, 3], end=29)
    assert samples[0] == samples[1]
    assert all(a != b for a, b in itertools.combinations(samples[1:], 2))


def test_a_rejection_that_leaves_nothing_but_rounding_samples_from_the_model():
    # The draft model's probs are all a little larger, as rounding may make them.
    probs = np.array([[0.5, 0.25, 0.25, 0.0]], "float32").repeat(SAMPLES, axis=0)
    with np.errstate(divide="ignore"):
        logits = np.log(probs)[:, None].repeat(2, axis=1)
    sampling = sampling_tensors(Sampler(), np.arange(SAMPLES, dtype="int32"))
    proposed = np.zeros((SAMPLES, 1), "int32")
    num_accepted, next_ids = _check(logits, probs[:, None] * 1.2, proposed, sampling, 0)
    rejected = np.asarray(next_ids)[np.asarray(num_accepted) == 0]
    counts = np.bincount(rejected, minlength=4)
    assert len(rejected) > SAMPLES / 10
    np.testing.assert_allclose(counts / len(rejected), probs[0], rtol=0, atol=0.04)


def test_one_new_token_needs_no_proposal(model, draft):
    settings = SpeculativeDecoding(draft, temperature=0.0)
    found = sample(model, PROMPTS, settings, 1)
    assert all(is_greedy(model, *pair, 1) for pair in zip(PROMPTS, found, strict=True))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
def test_nothing_is_traced_again_for_other_lengths_batches_or_settings(draft):
    model = random_model(SMALL)
    for count in range(1, 4):
        settings = SpeculativeDecoding(draft, count, 0.5 * count, count, 1 / count)
        sample(model, PROMPTS[:count], settings, count + 1)
    name, key = "speculative_sample", ((END,), draft)
    trace = cached_function(model, name, key, lambda: pytest.fail("traced again"))
    assert trace.experimental_get_tracing_count() == 1
    assert cached_function(model, name, (END, model), lambda: None) is not trace


def test_each_prompt_gets_its_text():
    model, draft = text_model(), text_model(seed=1, num_layers=1)
    prompts, seeds = ["the cat", "a"], np.array([5, 6], "int32")
    settings = {"max_new_tokens": 6, "seed": [5, 6]}
    found = search_texts(model, prompts, SpeculativeDecoding(draft), **settings)
    tokenizer = model.tokenizer
    encoded = [tokenizer.encode(prompt) for prompt in prompts]
    new = sample(model, encoded, SpeculativeDecoding(draft), 6, seeds, end=tokenizer.end_token_id)
    assert [row[0].text for row in found] == [tokenizer.decode(ids) for ids in new]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"num_draft_tokens": 0}, ValueError, "num_draft_tokens=0 is less than 1"),
        ({"num_draft_tokens": 1.5}, TypeError, "num_draft_tokens=1.5 is a float"),
        ({"temperature": -1.0}, ValueError, "temperature=-1.0 is not at least 0"),
        ({"top_k": -1}, ValueError, "top_k=-1 is less than 0"),
        ({"top_p": 0.0}, ValueError, "top_p=0.0 is not above 0"),
    ],
)
def test_numbers_out_of_range_are_an_error(draft, fields, error, message):
    with pytest.raises(error, match=f"^{message}"):
        SpeculativeDecoding(draft, **fields)


def test_a_draft_model_must_be_a_model():
    with pytest.raises(TypeError, match=r"draft_model='gpt2' is a str. Use a GPT2LM"):
        SpeculativeDecoding("gpt2")


def test_what_does_not_fit_the_models_is_an_error(model, draft):
    other = random_model(GPT2Config(**{**TINY.to_dict(), "vocab_size": 6}))
    with pytest.raises(ValueError, match=r"draft_model has vocab_size=6, and the .* vocab_size=5"):
        sample(model, PROMPTS, SpeculativeDecoding(other), 2)
    with pytest.raises(ValueError, match=r"top_k=6 is greater than 5"):
        sample(model, PROMPTS, SpeculativeDecoding(draft, top_k=6), 2)
    with pytest.raises(ValueError, match=r"5 tokens and max_new_tokens=20 .* context_length=24"):
        sample(model, PROMPTS, SpeculativeDecoding(draft), 20)
    short = random_model(GPT2Config(**{**TINY.to_dict(), "context_length": 8}))
    with pytest.raises(ValueError, match=r"5 tokens and max_new_tokens=4 .* context_length=8"):
        sample(model, PROMPTS, SpeculativeDecoding(short), 4)
