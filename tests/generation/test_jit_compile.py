"""Generation that XLA compiles for TensorFlow: the texts of TensorFlow, and what is compiled."""

import keras
import numpy as np
import pytest

from gpt2_keras.generation import LogitsProcessors, Sampler, cache_prefix
from tests.generation import cases
from tests.models import text_model

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="JAX compiles every loop; see test_jax.py"
)
PROMPTS = ["the cat", "the", "on the mat, and the dog"]
PENALTIES = {"repetition_penalty": 1.3, "presence_penalty": 0.2, "frequency_penalty": 0.1}
CASES = {
    "greedy": {},
    "top_k": {"sampler": Sampler(top_k=5), "seed": 3},
    "all filters": {"sampler": Sampler(top_p=0.8, min_p=0.02, typical_p=0.9), "seed": 3},
    "penalties": {"sampler": Sampler(0.0, no_repeat_ngram_size=2, **PENALTIES)},
    "processors": {
        "logits_processors": LogitsProcessors(
            min_new_tokens=5,
            logit_bias={30: 2.0, 31: -float("inf")},
            bad_words=["cat"],
            forced_prefix=" so",
        )
    },
    "stop strings": {"stop": ["a"]},
}


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture
def traced(monkeypatch):
    """The names of the functions that are traced."""
    return cases.traced_functions(monkeypatch.setattr)


@pytest.mark.parametrize("case", CASES)
def test_the_texts_are_those_of_tensorflow(model, case):
    arguments = {"max_new_tokens": 12, **CASES[case]}
    compiled = model.generate(PROMPTS, jit_compile=True, **arguments)
    assert compiled == model.generate(PROMPTS, **arguments)


def test_a_text_of_one_row_is_that_of_tensorflow(model):
    expected = model.generate("the cat", max_new_tokens=20)
    assert model.generate("the cat", max_new_tokens=20, jit_compile=True) == expected
    streamed = model.stream("the cat", max_new_tokens=20, jit_compile=True)
    assert "the cat" + "".join(streamed) == expected


def test_prefixes_and_windows_are_those_of_tensorflow(model):
    prefix = cache_prefix(model, "the cat")
    for prompts, arguments in (
        ([" on", " sat"], {"prefix_cache": prefix, "max_new_tokens": 8}),
        ("the cat", {"on_overflow": "sliding_window", "max_new_tokens": 100}),
    ):
        expected = model.generate(prompts, **arguments)
        assert model.generate(prompts, jit_compile=True, **arguments) == expected


def test_log_probabilities_are_those_of_tensorflow(model):
    details = model.generate_details(PROMPTS, max_new_tokens=8, jit_compile=True)
    for found, expected in zip(
        details, model.generate_details(PROMPTS, max_new_tokens=8), strict=True
    ):
        # Sums of float32 in another order; the logits are of size 1.
        np.testing.assert_allclose(found.log_probs, expected.log_probs, rtol=1e-4, atol=1e-5)


def test_nothing_is_compiled_again_within_a_bucket_or_for_other_weights(traced, caplog):
    model = text_model(context_length=64)
    for length in (1, 3, 9, 15):
        ids = model.tokenizer.encode("the cat sat on the mat, and the dog")[:length]
        prompt = model.tokenizer.decode(ids)
        model.generate(prompt, max_new_tokens=length + 1, jit_compile=True)
    assert traced == ["start", "advance"]
    compiled = {"max_new_tokens": 9, "jit_compile": True}
    before = model.generate("the cat", **compiled)
    model.set_weights(text_model(context_length=64, seed=1).get_weights())
    after = model.generate("the cat", **compiled)
    assert traced == ["start", "advance"]
    for sampler in (Sampler(top_k=5), Sampler(top_p=0.5)):
        model.generate("the cat", sampler=sampler, **compiled)
    assert traced == ["start", "advance"] * 2  # greedy decoding and sampling
    assert before != after == model.generate("the cat", max_new_tokens=9)
    assert "retracing" not in caplog.text


def test_batches_of_many_sizes_warn_of_nothing(traced, caplog):
    model = text_model(num_layers=1)
    for size in range(1, 7):
        model.generate(["the"] * size, max_new_tokens=1, jit_compile=True)
    assert traced == ["start"] * 6
    assert not caplog.records


def test_what_is_no_flag_is_an_error(model):
    with pytest.raises(TypeError, match=r"^jit_compile='auto' is a str\. Use True or False"):
        model.generate("the", jit_compile="auto")
