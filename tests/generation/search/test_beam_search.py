import itertools

import keras
import numpy as np
import pytest

from gpt2_keras import GPT2Config
from gpt2_keras.generation.compiled import cached_function
from gpt2_keras.generation.search.beam_search import BeamSearch
from gpt2_keras.generation.search.results import SearchRequest, search_texts
from tests.models import random_model, text_model

VOCAB, END = 6, 5
SMALL = GPT2Config(
    vocab_size=VOCAB, context_length=16, num_layers=2, num_heads=2, hidden_dim=8, dropout_rate=0.0
)
PROMPTS = [[1, 2, 3], [4], [0, 0, 2, 1, 3]]


@pytest.fixture(scope="module")
def model():
    return random_model(SMALL)


def search(model, prompts, settings, max_new_tokens, end=END, count=1):
    """Each prompt's results as (score, new ids before the end)."""
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
            num_return_sequences=count,
        ),
    )
    for ids, counts, _ in zip(*found, strict=True):
        for row, count in zip(ids, counts, strict=True):
            assert (row[count:] == end).all()
    return [
        [(score, ids[:count].tolist()) for ids, count, score in zip(*row, strict=True)]
        for row in zip(*found, strict=True)
    ]


def log_probs(model, sequences):
    """The log-probabilities of what follows sequences of one length, by the full pass."""
    logits = np.array(model(np.array(sequences))[:, -1], "float64")
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def beams_by_definition(model, prompt, num_beams, penalty, max_new_tokens):
    """Beam search in Python lists, with no cache and no batch of rows."""
    live, done = [(0.0, [])], []
    for length in range(1, max_new_tokens + 1):
        table = log_probs(model, [prompt + new for _, new in live])
        candidates = [
            (score + row[token], [*new, token])
            for (score, new), row in zip(live, table, strict=True)
            for token in range(VOCAB)
        ]
        candidates = sorted(candidates, reverse=True)[: 2 * num_beams]
        live = [(score, new) for score, new in candidates if new[-1] != END][:num_beams]
        for score, new in candidates[:num_beams]:
            if new[-1] == END or length == max_new_tokens:
                done.append((score / length**penalty, [token for token in new if token != END]))
        done = sorted(done, reverse=True)[:num_beams]
        if len(done) == num_beams and live[0][0] / length**penalty <= done[-1][0]:
            break
    return done


def assert_same(found, expected):
    assert [ids for _, ids in found] == [ids for _, ids in expected]
    np.testing.assert_allclose(
        [score for score, _ in found], [score for score, _ in expected], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("penalty", [1.0, 0.0, 2.0, -0.5])
@pytest.mark.parametrize("num_beams", [2, 4])
def test_the_results_are_those_of_beam_search_by_the_definition(model, num_beams, penalty):
    settings = BeamSearch(num_beams, penalty)
    found = search(model, PROMPTS, settings, 7, count=num_beams)
    for prompt, row in zip(PROMPTS, found, strict=True):
        assert_same(row, beams_by_definition(model, prompt, num_beams, penalty, 7))


def test_some_rows_finish_before_others_and_some_never(model):
    lengths = [
        {len(ids) for _, ids in row}
        for row in search(model, PROMPTS, BeamSearch(4, 1.0), 7, count=4)
    ]
    assert set.union(*lengths) & {7}
    assert set.union(*lengths) - {7}


def test_as_many_beams_as_sequences_search_exhaustively():
    model = random_model(SMALL, seed=4)
    steps, prompt = 3, [1, 2]
    whole = list(itertools.product(range(VOCAB), repeat=steps))
    logits = np.array(model(np.array([[*prompt, *new] for new in whole])), "float64")
    tables = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    everything = {}
    for new, table in zip(whole, tables, strict=True):
        length = new.index(END) + 1 if END in new else steps
        rows = table[len(prompt) - 1 :][:length]
        everything[new[:length]] = sum(rows[np.arange(length), new[:length]]) / length
    best = sorted(((score, new) for new, score in everything.items()), reverse=True)
    best = [(score, [token for token in new if token != END]) for score, new in best]
    settings = BeamSearch(VOCAB**steps, 1.0)
    found = search(model, [prompt], settings, steps, count=VOCAB**steps)[0]
    assert_same(found[: len(best)], best)
    # There are no more sequences than these.
    assert all(score == -np.inf for score, _ in found[len(best) :])


def test_one_beam_is_greedy(model):
    found = search(model, PROMPTS, BeamSearch(num_beams=1), 6)
    for prompt, row in zip(PROMPTS, found, strict=True):
        new = []
        while len(new) < 6:
            token = int(log_probs(model, [prompt + new])[0].argmax())
            if token == END:
                break
            new.append(token)
        assert row[0][1] == new


def test_a_row_of_a_batch_gets_the_results_it_gets_alone(model):
    settings = BeamSearch(3, 1.0)
    together = search(model, PROMPTS, settings, 7, count=3)
    for prompt, row in zip(PROMPTS, together, strict=True):
        assert_same(search(model, [prompt], settings, 7, count=3)[0], row)


def test_a_row_that_is_done_waits_for_the_others_unchanged(model):
    # A strong preference for long texts: rows that went on would find better ones.
    settings = BeamSearch(2, 3.0)
    prompts = np.random.default_rng(0).integers(0, VOCAB, (24, 2)).tolist()
    together = search(model, prompts, settings, 13, count=2)
    for prompt, row in zip(prompts, together, strict=True):
        assert_same(search(model, [prompt], settings, 13, count=2)[0], row)


def test_the_first_result_does_not_depend_on_how_many_are_asked_for(model):
    several = search(model, PROMPTS, BeamSearch(4), 6, count=3)
    single = search(model, PROMPTS, BeamSearch(4), 6)
    assert [row[:1] for row in several] == single


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
def test_nothing_is_traced_again_for_other_lengths_batches_or_settings():
    model = random_model(SMALL)
    for count in range(1, 5):
        settings = BeamSearch(count, 0.5 * count)
        search(model, PROMPTS[:count], settings, count + 1, count=count)
    trace = cached_function(model, "beam_search", (END,), lambda: pytest.fail("traced again"))
    assert trace.experimental_get_tracing_count() == 1
    search(model, PROMPTS, BeamSearch(2), 4, end=0)  # another end is another function
    assert cached_function(model, "beam_search", (0,), lambda: None) is not trace


def test_texts_come_with_their_scores_the_best_first():
    model = text_model()
    prompts, settings = ["the cat", "a"], {"max_new_tokens": 6, "num_return_sequences": 2}
    found = search_texts(model, prompts, BeamSearch(3), **settings)
    assert [len(row) for row in found] == [2, 2]
    for prompt, row in zip(prompts, found, strict=True):
        assert row[0].score > row[1].score
        assert all(each.prompt == prompt for each in row)
    ids = model.tokenizer.encode("the cat")
    score, new = search(model, [ids], BeamSearch(3), 6, model.tokenizer.end_token_id, count=2)[0][0]
    assert found[0][0].token_ids == new
    assert found[0][0].text == model.tokenizer.decode(new)
    assert found[0][0].score == pytest.approx(score)


def test_fewer_texts_than_asked_for_leave_no_empty_results():
    # With one new token there are as many texts as tokens, and fewer than beams.
    model = text_model()
    beams = model.config.vocab_size + 20
    settings = {"max_new_tokens": 1, "num_return_sequences": beams}
    found = search_texts(model, ["a"], BeamSearch(beams), **settings)
    assert len(found[0]) == model.config.vocab_size
    assert all(np.isfinite(each.score) for each in found[0])


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"num_beams": 0}, ValueError, "num_beams=0 is less than 1"),
        ({"num_beams": 2.5}, TypeError, "num_beams=2.5 is a float"),
        ({"num_beams": True}, TypeError, "num_beams=True is a bool"),
        ({"length_penalty": float("nan")}, ValueError, "length_penalty=nan is not finite"),
        ({"length_penalty": float("inf")}, ValueError, "length_penalty=inf is not finite"),
        ({"length_penalty": "1"}, TypeError, "length_penalty='1' is a str"),
    ],
)
def test_numbers_out_of_range_are_an_error(fields, error, message):
    with pytest.raises(error, match=f"^{message}"):
        BeamSearch(**fields)


def test_more_texts_than_beams_are_an_error(model):
    with pytest.raises(ValueError, match=r"num_return_sequences=6 is greater than 5. .*num_beams"):
        search(model, PROMPTS, BeamSearch(), 2, count=6)


@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (0, ValueError, "max_new_tokens=0 is less than 1"),
        (2.5, TypeError, "max_new_tokens=2.5 is a float"),
        (14, ValueError, "prompt of 3 tokens and max_new_tokens=14 .* context_length=16"),
    ],
)
def test_new_tokens_that_do_not_fit_are_an_error(model, count, error, message):
    with pytest.raises(error, match=message):
        search(model, [[1, 2, 3]], BeamSearch(), count)


def test_another_backend_is_an_error(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match=r"Keras runs on the backend 'torch'"):
        search(model, PROMPTS, BeamSearch(), 2)
