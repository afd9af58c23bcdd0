import numpy as np
import pytest

from gpt2_keras.generation import session as run_module
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.stateless_random import uniform
from gpt2_keras.generation.streaming import TextPieces
from tests.models import random_model, text_model

PROMPTS = ["the cat", "", "the dog sat on the log. it's", "é42"]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def greedy_by_definition(model, prompt, count):
    """The likeliest token of the full pass, again and again, with no cache."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode(prompt) or [tokenizer.end_token_id]
    new = []
    for _ in range(count):
        new.append(int(np.argmax(model(np.array([ids + new]))[0, -1])))
        if new[-1] == tokenizer.end_token_id:
            return prompt + tokenizer.decode(new[:-1])
    return prompt + tokenizer.decode(new)


def test_greedy_text_is_the_likeliest_token_again_and_again(model):
    for prompt in PROMPTS:
        expected = greedy_by_definition(model, prompt, 12)
        assert model.generate(prompt, max_new_tokens=12) == expected


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0}, {"top_k": 7}, {"top_p": 0.8}])
def test_a_row_of_a_batch_gets_the_text_it_gets_alone(model, settings):
    seeds = [11, 12, 13, 14]
    together = model.generate(PROMPTS, max_new_tokens=16, seed=seeds, **settings)
    for prompt, seed, text in zip(PROMPTS, seeds, together, strict=True):
        assert model.generate(prompt, max_new_tokens=16, seed=seed, **settings) == text


def test_a_seed_makes_a_draw_repeatable_and_another_changes_it(model):
    def draw(seed):
        return model.generate("the", max_new_tokens=20, temperature=1.0, seed=seed)

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(5)}) == 5
    unseeded = {model.generate("the", max_new_tokens=20, temperature=1.0) for _ in range(3)}
    assert len(unseeded) == 3


def test_every_step_of_a_row_draws_with_a_number_of_its_own():
    model = text_model(context_length=64)
    # Without gain and shift in the final norm every token is equally likely, so that
    # a number u draws the token u × vocab.
    model.decoder.final_norm.gamma.assign(np.zeros(model.config.hidden_dim))
    model.decoder.final_norm.beta.assign(np.zeros(model.config.hidden_dim))
    seeds, vocab_size = np.array([5], "int32"), model.config.vocab_size
    numbers = [float(uniform(seeds, step)[0]) for step in range(10)]
    expected = [int(number * vocab_size) for number in numbers]
    assert model.tokenizer.end_token_id not in expected
    text = model.generate("the", max_new_tokens=10, temperature=1.0, seed=5, strip_prompt=True)
    assert text == model.tokenizer.decode(expected)


def test_streamed_pieces_joined_are_the_generated_text(model):
    settings = {"max_new_tokens": 24, "temperature": 1.0, "seed": 4}
    pieces = list(model.stream("the cat", **settings))
    assert "".join(pieces) == model.generate("the cat", strip_prompt=True, **settings)
    assert len(pieces) > 3
    assert all(pieces)


def test_several_samples_of_a_prompt_are_several_texts(model):
    texts = model.generate("the", max_new_tokens=12, temperature=1.0, seed=1, num_samples=3)
    assert len(set(texts)) == 3
    grouped = model.generate(
        ["the", "a"], max_new_tokens=12, temperature=1.0, seed=1, num_samples=3
    )
    assert grouped[0] == texts
    assert [len(group) for group in grouped] == [3, 3]


def test_the_text_ends_before_a_stop_string(model):
    whole = model.generate("the", max_new_tokens=30, temperature=1.0, seed=2, strip_prompt=True)
    stop = whole[9:12]
    cut = whole[: whole.index(stop)]
    settings = {"max_new_tokens": 30, "temperature": 1.0, "seed": 2, "stop": [stop, "never"]}
    assert model.generate("the", strip_prompt=True, **settings) == cut
    assert "".join(model.stream("the", **settings)) == cut


def test_the_text_ends_at_the_end_token():
    model = text_model(context_length=64)
    # With every weight of the final norm at 0 the logits are the bias against each embedding.
    end = model.tokenizer.end_token_id
    embeddings = model.token_embedding.embeddings.numpy()
    model.decoder.final_norm.gamma.assign(np.zeros(model.config.hidden_dim))
    model.decoder.final_norm.beta.assign(embeddings[end] * 100)
    assert model.generate(["the", "a cat"], max_new_tokens=8) == ["the", "a cat"]


def test_a_prompt_that_is_cropped_is_read_from_its_end(model):
    long = "the cat sat on the mat. " * 20
    with pytest.raises(ValueError, match=r"prompt 0 with \d+ tokens, max_new_tokens=10, context_l"):
        model.generate(long, max_new_tokens=10)
    ids = model.tokenizer.encode(long)[-54:]
    expected = (
        long
        + greedy_by_definition(model, model.tokenizer.decode(ids), 10)[
            len(model.tokenizer.decode(ids)) :
        ]
    )
    assert model.generate(long, max_new_tokens=10, overflow="crop") == expected


def test_nothing_is_traced_again_for_other_lengths_batches_or_numbers():
    model = text_model(context_length=64)
    model.generate("a", max_new_tokens=3)
    functions = compiled(model)
    for count in range(1, 6):
        settings = {"temperature": 0.1 * count, "top_k": count, "top_p": 1 / count}
        model.generate(["the cat " * count] * count, max_new_tokens=count, seed=count, **settings)
    assert functions is compiled(model)
    assert functions.start.experimental_get_tracing_count() == 1
    assert functions.advance.experimental_get_tracing_count() == 1


def test_pieces_never_split_a_character_and_hold_back_what_may_be_a_stop(model):
    tokenizer = model.tokenizer
    text = "aé𝄞b STOP c"
    pieces = TextPieces(tokenizer, stop=["STOP", " SX"])
    given = [pieces.feed([token]) for token in tokenizer.encode(text)]
    assert "".join(given) == "aé𝄞b "
    assert not any("\ufffd" in piece for piece in given)
    assert pieces.stopped
    assert pieces.feed(tokenizer.encode("more")) == ""
    assert pieces.finish() == ""


def test_pieces_give_back_what_was_held_when_the_text_ends(model):
    tokenizer = model.tokenizer
    pieces = TextPieces(tokenizer, stop=["STOP"])
    assert pieces.feed(tokenizer.encode("a ST")) == "a "
    assert pieces.finish() == "ST"
    broken = TextPieces(tokenizer)
    assert broken.feed(tokenizer.encode("é")[:1]) == ""
    assert broken.finish() == "\ufffd"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompts": [3]}, TypeError, "Received: int"),
        ({"prompts": [b"a"]}, TypeError, "Received: bytes"),
        ({"prompts": []}, ValueError, "Received: an empty list"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens=0"),
        ({"max_new_tokens": 2.5}, ValueError, "max_new_tokens=2.5"),
        (
            {"max_new_tokens": 64},
            ValueError,
            "=64, context_length=64, prefix of 0 tokens. Use at most 63",
        ),
        ({"num_samples": 0}, ValueError, "num_samples=0"),
        ({"num_samples": 2}, ValueError, "num_samples=2, best_of=1 with a greedy"),
        ({"stop": ["a", ""]}, ValueError, r"none of them empty. Received: stop=\('a', ''\)"),
        ({"stop": ""}, ValueError, r"none of them empty. Received: stop=\('',\)"),
        ({"overflow": "wrap"}, ValueError, "refuse, crop, slide. Received: overflow='wrap'"),
        ({"best_of": 0}, ValueError, "best_of=0"),
        ({"best_of": 2}, ValueError, "best_of=2 with a greedy sampler"),
        ({"top_k": 10_000}, ValueError, "top_k=10000"),
        ({"seed": [1, 2]}, ValueError, "2 seeds for 1 rows"),
    ],
)
def test_bad_arguments_are_refused_before_any_compute(
    model, monkeypatch, arguments, error, message
):
    monkeypatch.setattr(run_module, "compiled", lambda model: pytest.fail("computed"))
    with pytest.raises(error, match=message):
        model.generate(**{"prompts": "a", "max_new_tokens": 8, **arguments})


def test_a_streamed_prompt_must_be_one_text(model):
    with pytest.raises(TypeError, match="Received: list"):
        model.stream(["a"])


def test_another_backend_is_refused(monkeypatch):
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="Received: Keras backend 'jax'"):
        compiled(text_model())


def test_a_model_of_bare_ids_generates_no_text():
    with pytest.raises(ValueError, match="tokenizer=None"):
        random_model().generate("a")
