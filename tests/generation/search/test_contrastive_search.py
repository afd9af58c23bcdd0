import keras
import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation.compiled import cached_function
from gpt2_keras.generation.search.contrastive_search import ContrastiveSearch
from gpt2_keras.generation.search.results import SearchRequest, search_texts
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
    found = settings.run(
        model,
        SearchRequest(
            token_ids,
            num_tokens,
            max_new_tokens=max_new_tokens,
            end_token_ids=(end,),
            seeds=np.zeros(len(prompts), "int32"),
        ),
    )
    ids, counts = found.token_ids[:, 0], found.num_tokens[:, 0]
    assert all((row[count:] == end).all() for row, count in zip(ids, counts, strict=True))
    return [row[:count].tolist() for row, count in zip(ids, counts, strict=True)]


def contrastive_by_definition(model, prompt, settings, max_new_tokens):
    """Equation 5 of Su et al. (2022) over full passes, one candidate at a time."""
    ids = list(prompt)
    for _ in range(max_new_tokens):
        logits = np.array(model(np.array([ids]))[0, -1], "float64")
        probs = np.exp(logits) / np.exp(logits).sum()
        best, best_score = None, -np.inf
        for candidate in np.argsort(-probs)[: settings.k].tolist():
            states = np.array(model.hidden_states(np.array([[*ids, candidate]]))[-1][0], "float64")
            states /= np.linalg.norm(states, axis=1, keepdims=True)
            similarity = max(float(states[-1] @ before) for before in states[:-1])
            score = (1 - settings.alpha) * probs[candidate] - settings.alpha * similarity
            if score > best_score:
                best, best_score = candidate, score
        if best == END:
            break
        ids.append(best)
    return ids[len(prompt) :]


def is_greedy(model, prompt, new, max_new_tokens):
    """Whether each token is the most_likely after those before it, by one full pass."""
    most_likely = np.argmax(model(np.array([prompt + new]))[0, len(prompt) - 1 :], axis=1).tolist()
    return most_likely[: len(new)] == new and (len(new) == max_new_tokens or most_likely[-1] == END)


@pytest.mark.parametrize(
    "settings", [ContrastiveSearch(3, 0.6), ContrastiveSearch(4, 0.2), ContrastiveSearch(5, 1)]
)
def test_the_tokens_are_those_of_the_definition(model, settings):
    found = search(model, PROMPTS, settings, 6)
    for prompt, new in zip(PROMPTS, found, strict=True):
        assert new == contrastive_by_definition(model, prompt, settings, 6)


@pytest.mark.parametrize("settings", [ContrastiveSearch(4, 0.0), ContrastiveSearch(1, 0.9)])
def test_no_weight_on_difference_or_one_candidate_is_greedy(model, settings):
    found = search(model, PROMPTS, settings, 8)
    assert all(is_greedy(model, *pair, 8) for pair in zip(PROMPTS, found, strict=True))
    # And the weight does matter elsewhere.
    assert search(model, PROMPTS, ContrastiveSearch(4, 0.6), 8) != found


def test_a_row_of_a_batch_gets_the_tokens_it_gets_alone(model):
    settings = ContrastiveSearch(4, 0.6)
    together = search(model, PROMPTS, settings, 12)
    assert [search(model, [prompt], settings, 12)[0] for prompt in PROMPTS] == together


def test_a_row_ends_at_the_end_token(model):
    settings = ContrastiveSearch(4, 0.6)
    whole = search(model, PROMPTS, settings, 6)
    longest = max(whole, key=len)
    end = longest[-1]
    ended = search(model, PROMPTS, settings, 6, end=end)
    for before, row in zip(whole, ended, strict=True):
        stop = before.index(end) if end in before else len(before)
        assert row[:stop] == before[:stop]
        assert end not in row
    assert len(ended[whole.index(longest)]) == longest.index(end) < len(longest)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
def test_nothing_is_traced_again_for_other_lengths_batches_or_settings():
    model = random_model(SMALL)
    for count in range(1, 4):
        search(model, PROMPTS[:count], ContrastiveSearch(count, 0.3 * count), count + 1)
    trace = cached_function(
        model, "contrastive_search", (END,), lambda: pytest.fail("traced again")
    )
    assert trace.experimental_get_tracing_count() == 1


def test_each_prompt_gets_its_text():
    model = text_model()
    settings = ContrastiveSearch(3, 0.5)
    prompts = ["the cat", "a"]
    found = search_texts(model, prompts, settings, max_new_tokens=6)
    encoded = [model.tokenizer.encode(prompt) for prompt in prompts]
    new = search(model, encoded, settings, 6, end=model.tokenizer.end_token_id)
    assert [row[0].text for row in found] == [model.tokenizer.decode(ids) for ids in new]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"k": 0}, ValueError, "k=0 is less than 1"),
        ({"k": 1.5}, TypeError, "k=1.5 is a float"),
        ({"k": True}, TypeError, "k=True is a bool"),
        ({"alpha": -0.1}, ValueError, "alpha=-0.1 is not at least 0"),
        ({"alpha": 1.1}, ValueError, "alpha=1.1 is not at most 1"),
        ({"alpha": float("nan")}, ValueError, "alpha=nan is not finite"),
    ],
)
def test_numbers_out_of_range_are_an_error(fields, error, message):
    with pytest.raises(error, match=f"^{message}"):
        ContrastiveSearch(**fields)


def test_what_does_not_fit_the_model_is_an_error(model):
    with pytest.raises(ValueError, match=r"k=10 is greater than 9"):
        search(model, PROMPTS, ContrastiveSearch(10), 2)
    with pytest.raises(ValueError, match=r"5 tokens and max_new_tokens=20 .* context_length=24"):
        search(model, PROMPTS, ContrastiveSearch(), 20)
    settings = {"sampler": ContrastiveSearch(), "num_return_sequences": 2}
    with pytest.raises(ValueError, match=r"num_return_sequences=2 is greater than 1"):
        text_model().generate("a", **settings)
