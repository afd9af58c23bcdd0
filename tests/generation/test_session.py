"""Details, prefix caches, sliding windows, and the best of several samples."""

import re

import keras
import numpy as np
import pytest

from gpt2_keras.generation import EncodedPrompt, Sampler, cache_prefix
from gpt2_keras.generation.session import GenerationSession
from tests.models import text_model


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def test_details_are_the_tokens_with_the_models_log_probabilities(model):
    for settings in ({}, {"temperature": 0.7, "top_k": 9, "seed": 1}):
        details = model.generate_details(["the cat", "a"], **settings)
        texts = model.generate(["the cat", "a"], strip_prompt=True, **settings)
        for generation, text in zip(details, texts, strict=True):
            assert generation.text == text
            assert model.tokenizer.decode(generation.token_ids) == text
            assert generation.finish_reason == "length"
            prompt_ids = model.tokenizer.encode(generation.prompt)
            ids = np.array([prompt_ids + generation.token_ids])
            logits = np.array(model(ids)[0], "float64")[len(prompt_ids) - 1 : -1]
            probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            expected = np.log(probs[np.arange(len(logits)), generation.token_ids])
            np.testing.assert_allclose(generation.log_probs, expected, atol=1e-3)


def test_a_prompt_of_ids_is_continued_as_its_text_is(model):
    texts = ["the cat", "a", "it's 42"]
    ids = [EncodedPrompt(tuple(model.tokenizer.encode(text)), text) for text in texts]
    assert model.generate(ids, max_new_tokens=5) == model.generate(texts, max_new_tokens=5)
    assert model.generate([ids[0], texts[1]]) == model.generate(texts[:2])
    assert model.generate(ids[2]) == model.generate(texts[2])
    assert "".join(model.stream(ids[0])) == "".join(model.stream(texts[0]))
    (best, *_) = model.generate([ids[0]], sampler="beam")
    assert best == model.generate(texts[0], sampler="beam")
    other = EncodedPrompt([5, 6], "called so")  # a list is kept as a tuple
    assert other.token_ids == (5, 6)
    details = model.generate_details(other, max_new_tokens=3)
    assert details.prompt == "called so"
    assert model.generate(other, max_new_tokens=3) == "called so" + details.text


def test_a_text_goes_on_from_all_that_was_read(model):
    ids = model.tokenizer.encode("the cat sat")
    whole = model.generate_details(EncodedPrompt(tuple(ids)), max_new_tokens=9)
    settings = {
        "seed": 0, "stop": (), "stop_token_ids": (), "logits_processors": None,
        "prefix_cache": cache_prefix(model, "the cat"), "on_overflow": "error",
        "special_tokens": None,
    }  # fmt: skip
    session = GenerationSession(model, [" sat"], Sampler(0.0), max_new_tokens=5, **settings)
    assert session.read_so_far() is None
    for _ in session.deltas():
        pass
    cached = session.read_so_far()
    if keras.backend.backend() == "jax":
        assert cached is None  # its buckets are padded
        return
    assert cached.token_ids == ids + whole.token_ids[:4]
    last = EncodedPrompt((whole.token_ids[4],))
    rest = model.generate_details(last, max_new_tokens=4, prefix_cache=cached)
    assert rest.token_ids == whole.token_ids[5:]
    two = GenerationSession(model, ["a", "b"], Sampler(0.0), max_new_tokens=2, **settings)
    list(two.deltas())
    assert two.read_so_far() is None


def test_prompts_of_ids_are_checked(model):
    with pytest.raises(ValueError, match=r"^token_ids=\(\) is empty\. An empty prompt is the end"):
        EncodedPrompt(())
    with pytest.raises(TypeError, match=r"^a token id=1\.5 is a float\."):
        EncodedPrompt((1.5,))
    with pytest.raises(TypeError, match=r"^text=3 is an int\. Use a str\."):
        EncodedPrompt((1,), 3)
    with pytest.raises(ValueError, match=r"^Token id 280 is not in the vocabulary"):
        model.generate(EncodedPrompt((280,)))
    message = r"^prompts\[1\]=3 is an int\. Use a str or an EncodedPrompt\.$"
    with pytest.raises(TypeError, match=message):
        model.generate([EncodedPrompt((1,)), 3])


def test_the_reason_of_the_end_is_told(model):
    free = model.generate_details("the", temperature=1.0, seed=2)
    # Two characters that are bytes of the text: the marks of broken ones are not.
    stop = re.findall("[ -~]{2}", free.text)[0]
    stopped = model.generate_details("the", temperature=1.0, seed=2, stop=stop)
    assert (stopped.finish_reason, stopped.text) == ("stop", free.text[: free.text.index(stop)])


def test_the_best_of_several_is_the_most_likely_of_them(model):
    settings = {"temperature": 1.5, "max_new_tokens": 10}
    sampled = [model.generate_details("the", seed=seed, **settings) for seed in range(10, 14)]
    best = model.generate_details("the", seed=10, best_of=4, **settings)
    most_likely = max(sampled, key=lambda generation: generation.mean_log_prob)
    assert best.token_ids == most_likely.token_ids
    assert len({generation.text for generation in sampled}) == 4
    pairs = model.generate_details(
        ["the", "a"], seed=10, best_of=2, num_return_sequences=2, **settings
    )
    assert [len(group) for group in pairs] == [2, 2]


def test_a_cached_prefix_gives_the_text_of_the_whole_prompt(model):
    prefix = cache_prefix(model, "the cat sat on")
    prompts = [" the mat", "!", " a log. it's"]
    settings = {"max_new_tokens": 12, "sampler": Sampler(0.0, no_repeat_ngram_size=3)}
    texts = model.generate(prompts, prefix_cache=prefix, **settings)
    tokenizer = model.tokenizer
    for prompt, text in zip(prompts, texts, strict=True):
        # Prefix and prompt are tokens of their own: so they are joined as tokens here.
        ids = prefix.token_ids + tokenizer.encode(prompt)
        assert tokenizer.decode(ids) == prefix.text + prompt
        alone = model.generate(prompt, prefix_cache=prefix, **settings)
        assert alone == text
        if tokenizer.encode(prefix.text + prompt) == ids:
            assert model.generate(prefix.text + prompt, **settings) == text
    assert tokenizer.encode("the cat sat on the mat") == prefix.token_ids + tokenizer.encode(
        " the mat"
    )


def test_a_prefix_must_have_tokens_and_fit(model):
    with pytest.raises(ValueError, match=r"^The prefix has 0 tokens\. .*context_length=64"):
        cache_prefix(model, "")
    with pytest.raises(ValueError, match=r"^The prefix has \d+ tokens\. .*context_length=64"):
        cache_prefix(model, "zq" * 64)
    prefix = cache_prefix(model, "zq" * 20)
    with pytest.raises(ValueError, match=r"^max_new_tokens=30 after a prefix of 40 tokens .*=64"):
        model.generate("a", prefix_cache=prefix, max_new_tokens=30)


def sliding_window_by_definition(model, prompt, count):
    """Greedy tokens; whenever the context is full, its last half is read again."""
    tokenizer, context = model.tokenizer, model.config.context_length
    everything, new = tokenizer.encode(prompt), []
    window = everything
    for _ in range(count):
        if len(window) == context:
            window = everything[-(context // 2) :]
        new.append(int(np.argmax(model(np.array([window]))[0, -1])))
        everything, window = everything + new[-1:], window + new[-1:]
    return prompt + tokenizer.decode(new)


def test_a_sliding_window_goes_on_with_the_last_half_of_the_context():
    model = text_model(context_length=16)
    for prompt in ("the cat", "zqzqzqzqz"):
        text = model.generate(prompt, max_new_tokens=40, on_overflow="sliding_window")
        assert text == sliding_window_by_definition(model, prompt, 40)
    both = model.generate(["the cat", "zqzqzqzqz"], max_new_tokens=40, on_overflow="sliding_window")
    assert both[1] == text
    settings = {
        "max_new_tokens": 40,
        "temperature": 1.0,
        "seed": 1,
        "on_overflow": "sliding_window",
    }
    sampled = model.generate("the cat", strip_prompt=True, **settings)
    assert "".join(model.stream("the cat", **settings)) == sampled
