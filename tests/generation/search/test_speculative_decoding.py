import itertools
import math

import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation.compiled import kept_trace
from gpt2_keras.generation.sampling import Sampler, sampling_tensors
from gpt2_keras.generation.search.speculative_decoding import (
    Speculative,
    _check,
    generate_speculative,
    speculative_ids,
    speculative_sample,
)
from tests.models import random_model, text_model

VOCAB, END = 5, 4
SMALL = GPT2Config(
    vocab_size=VOCAB, context_length=24, num_layers=2, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
TINY = GPT2Config(**{**SMALL.to_dict(), "num_layers": 1, "hidden_dim": 4})
PROMPTS = [[1, 2, 3], [2], [0, 3, 2, 1, 3], [0, 0]]
DRAWS = 20_000


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


def draw(model, prompts, settings, max_new_tokens, seeds=None, end=END):
    """The new ids of each prompt, before the end."""
    seeds = np.arange(len(prompts), dtype="int32") if seeds is None else seeds
    ids, counts = speculative_ids(
        model,
        *padded(prompts),
        settings,
        max_new_tokens=max_new_tokens,
        end_token_id=end,
        seeds=np.asarray(seeds, "int32"),
    )
    assert ids.shape == (len(prompts), max_new_tokens)
    assert all((row[count:] == end).all() for row, count in zip(ids, counts, strict=True))
    return [row[:count].tolist() for row, count in zip(ids, counts, strict=True)]


def shares_by_definition(model, sequences, temperature, top_k, top_p):
    """The distribution after each of several sequences of one length, by the full pass."""
    logits = np.array(model(np.array(sequences))[:, -1], "float64") / temperature
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for shares in table:
        order = np.argsort(-shares)
        shares[order[top_k or VOCAB :]] = 0
        shares /= shares.sum()
        before = np.cumsum(shares[order]) - shares[order]
        shares[order[before >= top_p]] = 0
    return table / table.sum(axis=1, keepdims=True)


def texts_by_definition(model, prompt, count, *numbers):
    """The probability of every text of up to `count` tokens, drawn from the model alone."""
    texts, live = {}, {(): 1.0}
    for _ in range(count):
        table = shares_by_definition(model, [[*prompt, *new] for new in live], *numbers)
        grown = {}
        for (new, probability), shares in zip(live.items(), table, strict=True):
            texts[new] = probability * shares[END]
            grown |= {(*new, token): probability * shares[token] for token in range(END)}
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
def test_texts_have_the_distribution_of_draws_from_the_model_alone(
    model, draft, num_draft_tokens, numbers
):
    # Three tokens: the first is the prefill's, the others a round's or of two rounds.
    expected = texts_by_definition(model, PROMPTS[0], 3, *numbers)
    settings = Speculative(draft, num_draft_tokens, *numbers)
    seeds = np.arange(DRAWS) * 7919
    found = draw(model, [PROMPTS[0]] * DRAWS, settings, 3, seeds)
    counts = dict.fromkeys(expected, 0)
    for new in found:
        counts[tuple(new)] += 1  # a KeyError for a text that cannot be
    common = [text for text, probability in expected.items() if probability * DRAWS >= 5]
    rare = DRAWS - sum(expected[text] * DRAWS for text in common)
    surprise = sum((counts[t] - expected[t] * DRAWS) ** 2 / (expected[t] * DRAWS) for t in common)
    assert len(common) > 5
    assert surprise < limit(len(common) - 1)
    assert abs(DRAWS - sum(counts[text] for text in common) - rare) <= 4 * math.sqrt(rare + 1)


def test_the_models_of_these_tests_differ(model, draft):
    numbers = (1.0, 0, 1.0)
    ours, theirs = (shares_by_definition(each, [PROMPTS[0]], *numbers) for each in (model, draft))
    assert np.abs(ours - theirs).sum() > 0.3


def is_greedy(model, prompt, new, max_new_tokens, end=END):
    """Whether each token is the likeliest after those before it, by one full pass."""
    likeliest = np.argmax(model(np.array([prompt + new]))[0, len(prompt) - 1 :], axis=1).tolist()
    complete = len(new) == max_new_tokens
    return likeliest[: len(new)] == new and (complete or likeliest[-1] == end) and end not in new


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
def test_at_temperature_zero_the_tokens_are_the_likeliest_of_the_model(
    close_pair, num_draft_tokens
):
    model, draft = close_pair
    settings = Speculative(draft, num_draft_tokens, temperature=0.0)
    # Prompt and new tokens fill the context, so that proposals go beyond it.
    found = draw(model, PROMPTS, settings, 19, end=29)
    for prompt, new in zip(PROMPTS, found, strict=True):
        assert is_greedy(model, prompt, new, 19, end=29)
    ours_are_theirs = [
        is_greedy(draft, prompt, new, 19, end=29)
        for prompt, new in zip(PROMPTS, found, strict=True)
    ]
    assert not all(ours_are_theirs)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_draft_model_equal_to_the_model_has_all_its_proposals_taken(model, temperature):
    sampling = sampling_tensors(Speculative(model, temperature=temperature).sampler, np.arange(4))
    sampling = sampling._replace(seed=np.arange(4, dtype="int32"))
    *_, num_rounds = speculative_sample(
        model,
        model,
        *padded(PROMPTS),
        sampling,
        num_draft_tokens=4,
        max_new_tokens=13,
        end_token_id=-1,  # which is never drawn
    )
    assert num_rounds == 3  # one token of the prefill, and 4 + 1 a round


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_of_a_batch_gets_the_tokens_it_gets_alone(model, draft, temperature):
    settings = Speculative(draft, 3, temperature=temperature)
    seeds = [11, 12, 13, 14]
    together = draw(model, PROMPTS, settings, 16, seeds)
    assert len(set(map(len, together))) > 1
    for prompt, seed, new in zip(PROMPTS, seeds, together, strict=True):
        assert draw(model, [prompt], settings, 16, [seed]) == [new]


def test_a_seed_makes_a_draw_repeatable_and_another_changes_it(close_pair):
    model, draft = close_pair
    draws = draw(model, [[1]] * 4, Speculative(draft), 16, [1, 1, 2, 3], end=29)
    assert draws[0] == draws[1]
    assert all(a != b for a, b in itertools.combinations(draws[1:], 2))


def test_a_rejection_that_leaves_nothing_but_rounding_draws_from_the_model():
    # The draft model's shares are all a little larger, as rounding may make them.
    shares = np.array([[0.5, 0.25, 0.25, 0.0]], "float32").repeat(DRAWS, axis=0)
    with np.errstate(divide="ignore"):
        logits = np.log(shares)[:, None].repeat(2, axis=1)
    sampling = sampling_tensors(Sampler(), np.arange(DRAWS, dtype="int32"))
    proposed = np.zeros((DRAWS, 1), "int32")
    num_accepted, next_ids = _check(logits, shares[:, None] * 1.2, proposed, sampling, 0)
    rejected = next_ids.numpy()[num_accepted.numpy() == 0]
    counts = np.bincount(rejected, minlength=4)
    assert len(rejected) > DRAWS / 10
    np.testing.assert_allclose(counts / len(rejected), shares[0], rtol=0, atol=0.04)


def test_one_new_token_needs_no_proposal(model, draft):
    settings = Speculative(draft, temperature=0.0)
    found = draw(model, PROMPTS, settings, 1)
    assert all(is_greedy(model, *pair, 1) for pair in zip(PROMPTS, found, strict=True))


def test_nothing_is_traced_again_for_other_lengths_batches_or_settings(draft):
    model = random_model(SMALL)
    for count in range(1, 4):
        settings = Speculative(draft, count, 0.5 * count, count, 1 / count)
        draw(model, PROMPTS[:count], settings, count + 1)
    name, key = "speculative_sample", (END, draft)
    trace = kept_trace(model, name, key, lambda: pytest.fail("made again"))
    assert trace.experimental_get_tracing_count() == 1
    assert kept_trace(model, name, (END, model), lambda: None) is not trace


def test_each_prompt_gets_its_text():
    model, draft = text_model(), text_model(seed=1, num_layers=1)
    prompts, seeds = ["the cat", "a"], np.array([5, 6], "int32")
    arguments = {"max_new_tokens": 6, "seeds": seeds}
    texts = generate_speculative(model, prompts, Speculative(draft), **arguments)
    bare = generate_speculative(model, prompts, Speculative(draft), strip_prompt=True, **arguments)
    assert texts == [prompt + new for prompt, new in zip(prompts, bare, strict=True)]
    tokenizer = model.tokenizer
    encoded = [tokenizer.encode(prompt) for prompt in prompts]
    new = draw(model, encoded, Speculative(draft), 6, seeds, end=tokenizer.end_token_id)
    assert bare == [tokenizer.decode(ids) for ids in new]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_draft_tokens": 0}, "num_draft_tokens=0"),
        ({"num_draft_tokens": 1.5}, "num_draft_tokens=1.5"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0.0}, "top_p=0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(draft, fields, message):
    with pytest.raises(ValueError, match=f"Received: {message}"):
        Speculative(draft, **fields)


def test_a_draft_model_must_be_a_model():
    with pytest.raises(TypeError, match="Received: draft_model='gpt2'"):
        Speculative("gpt2")


def test_what_does_not_fit_the_models_is_refused(model, draft):
    other = random_model(GPT2Config(**{**TINY.to_dict(), "vocab_size": 6}))
    message = "draft_model with vocab_size=6, model with vocab_size=5"
    with pytest.raises(ValueError, match=message):
        draw(model, PROMPTS, Speculative(other), 2)
    with pytest.raises(ValueError, match=r"vocab_size=5\. Received: top_k=6"):
        draw(model, PROMPTS, Speculative(draft, top_k=6), 2)
    with pytest.raises(ValueError, match="=20, prompts of 5 tokens, context_length=24"):
        draw(model, PROMPTS, Speculative(draft), 20)
    short = random_model(GPT2Config(**{**TINY.to_dict(), "context_length": 8}))
    with pytest.raises(ValueError, match="=4, prompts of 5 tokens, context_length=8"):
        draw(model, PROMPTS, Speculative(short), 4)
