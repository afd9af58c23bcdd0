import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation.compiled import kept_trace
from gpt2_keras.generation.search.contrastive_search import (
    Contrastive,
    contrastive_ids,
    generate_contrastive,
)
from tests.models import random_model, text_model

VOCAB, END = 9, 8
SMALL = GPT2Config(
    vocab_size=VOCAB, context_length=24, num_layers=2, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
PROMPTS = [[1, 2, 3], [4], [0, 7, 2, 1, 3]]


@pytest.fixture(scope="module")
def model():
    return random_model(SMALL, seed=1)


def search(model, prompts, settings, max_new_tokens, end=END):
    """The new ids of each prompt, before the end."""
    time = max(map(len, prompts))
    token_ids = np.array([[0] * (time - len(row)) + row for row in prompts], "int32")
    num_tokens = np.array([len(row) for row in prompts], "int32")
    ids, counts = contrastive_ids(
        model, token_ids, num_tokens, settings, max_new_tokens=max_new_tokens, end_token_id=end
    )
    assert all((row[count:] == end).all() for row, count in zip(ids, counts, strict=True))
    return [row[:count].tolist() for row, count in zip(ids, counts, strict=True)]


def contrastive_by_definition(model, prompt, settings, max_new_tokens):
    """Equation 5 of Su et al. (2022) over full passes, one candidate at a time."""
    ids = list(prompt)
    for _ in range(max_new_tokens):
        logits = np.array(model(np.array([ids]))[0, -1], "float64")
        shares = np.exp(logits) / np.exp(logits).sum()
        best, best_score = None, -np.inf
        for candidate in np.argsort(-shares)[: settings.k].tolist():
            states = np.array(model.hidden_states(np.array([[*ids, candidate]]))[-1][0], "float64")
            states /= np.linalg.norm(states, axis=1, keepdims=True)
            sameness = max(float(states[-1] @ before) for before in states[:-1])
            score = (1 - settings.alpha) * shares[candidate] - settings.alpha * sameness
            if score > best_score:
                best, best_score = candidate, score
        if best == END:
            break
        ids.append(best)
    return ids[len(prompt) :]


def is_greedy(model, prompt, new, max_new_tokens):
    """Whether each token is the likeliest after those before it, by one full pass."""
    likeliest = np.argmax(model(np.array([prompt + new]))[0, len(prompt) - 1 :], axis=1).tolist()
    return likeliest[: len(new)] == new and (len(new) == max_new_tokens or likeliest[-1] == END)


@pytest.mark.parametrize("settings", [Contrastive(3, 0.6), Contrastive(4, 0.2), Contrastive(5, 1)])
def test_the_tokens_are_those_of_the_definition(model, settings):
    found = search(model, PROMPTS, settings, 6)
    for prompt, new in zip(PROMPTS, found, strict=True):
        assert new == contrastive_by_definition(model, prompt, settings, 6)


@pytest.mark.parametrize("settings", [Contrastive(4, 0.0), Contrastive(1, 0.9)])
def test_no_weight_on_difference_or_one_candidate_is_greedy(model, settings):
    found = search(model, PROMPTS, settings, 8)
    assert all(is_greedy(model, *pair, 8) for pair in zip(PROMPTS, found, strict=True))
    # And the weight does matter elsewhere.
    assert search(model, PROMPTS, Contrastive(4, 0.6), 8) != found


def test_a_row_of_a_batch_gets_the_tokens_it_gets_alone(model):
    settings = Contrastive(4, 0.6)
    together = search(model, PROMPTS, settings, 12)
    assert [search(model, [prompt], settings, 12)[0] for prompt in PROMPTS] == together


def test_a_row_ends_at_the_end_token(model):
    settings = Contrastive(4, 0.6)
    whole = search(model, PROMPTS, settings, 6)
    longest = max(whole, key=len)
    end = longest[-1]
    ended = search(model, PROMPTS, settings, 6, end=end)
    for before, row in zip(whole, ended, strict=True):
        cut = before.index(end) if end in before else len(before)
        assert row[:cut] == before[:cut]
        assert end not in row
    assert len(ended[whole.index(longest)]) == longest.index(end) < len(longest)


def test_nothing_is_traced_again_for_other_lengths_batches_or_settings():
    model = random_model(SMALL)
    for count in range(1, 4):
        search(model, PROMPTS[:count], Contrastive(count, 0.3 * count), count + 1)
    trace = kept_trace(model, "contrastive_search", (END,), lambda: pytest.fail("made again"))
    assert trace.experimental_get_tracing_count() == 1


def test_each_prompt_gets_its_text():
    model = text_model()
    settings = Contrastive(3, 0.5)
    prompts = ["the cat", "a"]
    texts = generate_contrastive(model, prompts, settings, max_new_tokens=6)
    bare = generate_contrastive(model, prompts, settings, max_new_tokens=6, strip_prompt=True)
    assert texts == [prompt + new for prompt, new in zip(prompts, bare, strict=True)]
    encoded = [model.tokenizer.encode(prompt) for prompt in prompts]
    new = search(model, encoded, settings, 6, end=model.tokenizer.end_token_id)
    assert bare == [model.tokenizer.decode(ids) for ids in new]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 0}, "k=0"),
        ({"k": 1.5}, "k=1.5"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": 1.1}, "alpha=1.1"),
        ({"alpha": float("nan")}, "alpha=nan"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"Received: {message}"):
        Contrastive(**fields)


def test_what_does_not_fit_the_model_is_refused(model):
    with pytest.raises(ValueError, match=r"vocab_size=9\. Received: k=10"):
        search(model, PROMPTS, Contrastive(10), 2)
    with pytest.raises(ValueError, match="=20, prompts of 5 tokens, context_length=24"):
        search(model, PROMPTS, Contrastive(), 20)
