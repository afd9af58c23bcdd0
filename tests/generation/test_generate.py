import keras
import numpy as np
import pytest

from gpt2_keras.generation import BeamSearch, ContrastiveSearch, LogitsProcessors, Sampler
from gpt2_keras.generation import session as session_module
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.stateless_random import uniform
from gpt2_keras.generation.streaming import TextDeltas
from tests.models import random_model, text_model

PROMPTS = ["the cat", "", "the dog sat on the log. it's", "é42"]


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


def greedy_by_definition(model, prompt, count):
    """The most likely token of the full pass, at every step, with no cache."""
    tokenizer = model.tokenizer
    ids = tokenizer.encode(prompt) or [tokenizer.end_token_id]
    new = []
    for _ in range(count):
        new.append(int(np.argmax(model(np.array([ids + new]))[0, -1])))
        if new[-1] == tokenizer.end_token_id:
            return prompt + tokenizer.decode(new[:-1])
    return prompt + tokenizer.decode(new)


def test_greedy_text_is_the_most_likely_token_every_time(model):
    for prompt in PROMPTS:
        expected = greedy_by_definition(model, prompt, 12)
        assert model.generate(prompt, max_new_tokens=12) == expected


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0}, {"top_k": 7}, {"top_p": 0.8}])
def test_a_row_of_a_batch_gets_the_text_it_gets_alone(model, settings):
    seeds = [11, 12, 13, 14]
    together = model.generate(PROMPTS, max_new_tokens=16, seed=seeds, **settings)
    for prompt, seed, text in zip(PROMPTS, seeds, together, strict=True):
        assert model.generate(prompt, max_new_tokens=16, seed=seed, **settings) == text


def test_a_seed_makes_sampling_repeatable_and_another_changes_it(model):
    def sample(seed):
        return model.generate("the", max_new_tokens=20, temperature=1.0, seed=seed)

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(5)}) == 5
    unseeded = {model.generate("the", max_new_tokens=20, temperature=1.0) for _ in range(3)}
    assert len(unseeded) == 3


def test_every_step_of_a_row_samples_with_a_number_of_its_own():
    model = text_model(context_length=64)
    # Without gain and shift in the final norm every token is equally likely, so that
    # a number u samples the token u × vocab.
    model.decoder.final_norm.gamma.assign(np.zeros(model.config.hidden_dim))
    model.decoder.final_norm.beta.assign(np.zeros(model.config.hidden_dim))
    seeds, vocab_size = np.array([5], "int32"), model.config.vocab_size
    numbers = [float(uniform(seeds, step)[0]) for step in range(10)]
    expected = [int(number * vocab_size) for number in numbers]
    assert model.tokenizer.end_token_id not in expected
    text = model.generate("the", max_new_tokens=10, temperature=1.0, seed=5, strip_prompt=True)
    assert text == model.tokenizer.decode(expected)


def test_text_deltas_joined_are_the_generated_text(model):
    settings = {"max_new_tokens": 24, "temperature": 1.0, "seed": 4}
    deltas = list(model.stream("the cat", **settings))
    assert "".join(deltas) == model.generate("the cat", strip_prompt=True, **settings)
    assert len(deltas) > 3
    assert all(deltas)


def test_several_sequences_of_a_prompt_are_several_texts(model):
    settings = {"max_new_tokens": 12, "temperature": 1.0, "seed": 1, "num_return_sequences": 3}
    texts = model.generate("the", **settings)
    assert len(set(texts)) == 3
    grouped = model.generate(["the", "a"], **settings)
    assert grouped[0] == texts
    assert [len(group) for group in grouped] == [3, 3]


def test_the_text_ends_before_a_stop_string(model):
    whole = model.generate("the", max_new_tokens=30, temperature=1.0, seed=2, strip_prompt=True)
    stop = whole[9:12]
    expected = whole[: whole.index(stop)]
    settings = {"max_new_tokens": 30, "temperature": 1.0, "seed": 2, "stop": [stop, "never"]}
    assert model.generate("the", strip_prompt=True, **settings) == expected
    assert "".join(model.stream("the", **settings)) == expected


def test_the_text_ends_at_the_end_token():
    model = text_model(context_length=64)
    # With every weight of the final norm at 0 the logits are the bias against each embedding.
    end = model.tokenizer.end_token_id
    embeddings = keras.ops.convert_to_numpy(model.token_embedding.embeddings)
    model.decoder.final_norm.gamma.assign(np.zeros(model.config.hidden_dim))
    model.decoder.final_norm.beta.assign(embeddings[end] * 100)
    assert model.generate(["the", "a cat"], max_new_tokens=8) == ["the", "a cat"]


def test_a_truncated_prompt_keeps_its_end(model):
    long = "the cat sat on the mat. " * 20
    with pytest.raises(ValueError, match=r"^prompts\[0\] has \d+ tokens: with max_new_tokens=10"):
        model.generate(long, max_new_tokens=10)
    ids = model.tokenizer.encode(long)[-54:]
    expected = (
        long
        + greedy_by_definition(model, model.tokenizer.decode(ids), 10)[
            len(model.tokenizer.decode(ids)) :
        ]
    )
    assert model.generate(long, max_new_tokens=10, on_overflow="truncate") == expected


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TensorFlow's traces")
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


def test_text_deltas_never_split_a_character_and_hold_back_what_may_be_a_stop(model):
    tokenizer = model.tokenizer
    text = "aé𝄞b STOP c"
    deltas = TextDeltas(tokenizer, stop=["STOP", " SX"])
    given = [deltas.feed([token]) for token in tokenizer.encode(text)]
    assert "".join(given) == "aé𝄞b "
    assert not any("\ufffd" in delta for delta in given)
    assert deltas.stopped
    assert deltas.feed(tokenizer.encode("more")) == ""
    assert deltas.finish() == ""


def test_text_deltas_return_what_was_held_back_when_the_text_ends(model):
    tokenizer = model.tokenizer
    deltas = TextDeltas(tokenizer, stop=["STOP"])
    assert deltas.feed(tokenizer.encode("a ST")) == "a "
    assert deltas.finish() == "ST"
    broken = TextDeltas(tokenizer)
    assert broken.feed(tokenizer.encode("é")[:1]) == ""
    assert broken.finish() == "\ufffd"


NAN = float("nan")
BAD_ARGUMENTS = [
    ({"max_new_tokens": 0}, ValueError, "max_new_tokens=0 is less than 1"),
    ({"max_new_tokens": -3}, ValueError, "max_new_tokens=-3 is less than 1"),
    ({"max_new_tokens": 2.5}, TypeError, "max_new_tokens=2.5 is a float"),
    ({"max_new_tokens": True}, TypeError, "max_new_tokens=True is a bool"),
    ({"max_new_tokens": 64}, ValueError, "max_new_tokens=64 after a prefix of 0 tokens .* 63,"),
    ({"sampler": "beem"}, ValueError, "sampler='beem' is unknown"),
    ({"sampler": 3}, TypeError, "sampler=3 is an int"),
    ({"temperature": "hot"}, TypeError, "temperature='hot' is a str"),
    ({"temperature": NAN}, ValueError, "temperature=nan is not finite"),
    ({"temperature": -1.0}, ValueError, "temperature=-1.0 is not at least 0"),
    ({"temperature": True}, TypeError, "temperature=True is a bool"),
    ({"top_k": -1}, ValueError, "top_k=-1 is less than 0"),
    ({"top_k": 2.5}, TypeError, "top_k=2.5 is a float"),
    ({"top_k": 10_000}, ValueError, "top_k=10000 is greater than"),
    ({"top_p": 0.0}, ValueError, "top_p=0.0 is not above 0"),
    ({"top_p": NAN}, ValueError, "top_p=nan is not finite"),
    ({"seed": "x"}, TypeError, "seed='x' is a str"),
    ({"seed": 1.5}, TypeError, "seed=1.5 is a float"),
    ({"seed": True}, TypeError, "seed=True is a bool"),
    ({"stop": ["a", ""]}, ValueError, r"stop=\('a', ''\) has an empty string"),
    ({"stop": ""}, ValueError, r"stop=\('',\) has an empty string"),
    ({"stop": [3]}, TypeError, r"stop\[0\]=3 is an int"),
    ({"stop": 3}, TypeError, "stop=3 is an int"),
    ({"stop_token_ids": [-1]}, ValueError, "stop_token_ids=-1 is less than 0"),
    ({"stop_token_ids": [9999]}, ValueError, "Token id 9999 is not in the vocabulary"),
    ({"stop_token_ids": [True]}, TypeError, "stop_token_ids=True is a bool"),
    ({"stop_token_ids": 3}, TypeError, "stop_token_ids=3 is an int. Use a list of token ids"),
    ({"stop_token_ids": None}, TypeError, "stop_token_ids is None. Use a list of token ids"),
    ({"special_tokens": [[1]]}, ValueError, r"special_tokens has \[1\], no special token"),
    ({"special_tokens": np.array(1)}, TypeError, r"special_tokens=array\(1\) is one number"),
    ({"seed": np.array(1.5)}, TypeError, "seed=1.5 is a float"),
    ({"logits_processors": {}}, TypeError, "logits_processors={} is a dict"),
    ({"prefix_cache": "the"}, TypeError, "prefix_cache='the' is a str"),
    ({"on_overflow": "wrap"}, ValueError, "on_overflow='wrap' is unknown. Use one of 'error'"),
    ({"on_overflow": None}, TypeError, "on_overflow is None"),
]
ONLY_GENERATE = [
    ({"prompts": [3]}, TypeError, r"prompts\[0\]=3 is an int"),
    ({"prompts": [b"a"]}, TypeError, r"prompts\[0\]=b'a' is a bytes. .* Decode bytes first"),
    ({"prompts": []}, ValueError, "prompts is empty"),
    ({"prompts": {"token_ids": [1]}}, TypeError, r"prompts={'token_ids': \[1\]} is a dict"),
    ({"prompts": np.array("a")}, TypeError, "is a ndarray. Use a str or a list of them"),
    ({"prompts": None}, TypeError, "prompts is None"),
    ({"num_return_sequences": 0}, ValueError, "num_return_sequences=0 is less than 1"),
    ({"num_return_sequences": True}, TypeError, "num_return_sequences=True is a bool"),
    ({"num_return_sequences": 2}, ValueError, "num_return_sequences=2 and best_of=1 ask"),
    ({"best_of": 0}, ValueError, "best_of=0 is less than 1"),
    ({"best_of": NAN}, TypeError, "best_of=nan is a float"),
    ({"best_of": 2}, ValueError, "best_of=2 ask for several texts of a greedy sampler"),
    ({"seed": [1, 2]}, ValueError, "2 seeds were given for 1 rows"),
    ({"strip_prompt": 1}, TypeError, "strip_prompt=1 is an int"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS + ONLY_GENERATE)
def test_bad_arguments_are_an_error_before_any_compute(
    model, monkeypatch, arguments, error, message
):
    monkeypatch.setattr(session_module, "compiled", lambda model: pytest.fail("computed"))
    with pytest.raises(error, match=message):
        model.generate(**{"prompts": "a", "max_new_tokens": 8, **arguments})


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments_of_stream_are_an_error_at_the_call(model, arguments, error, message):
    with pytest.raises(error, match=message):
        model.stream(**{"prompt": "a", "max_new_tokens": 8, **arguments})


def test_an_unknown_argument_is_an_error(model):
    with pytest.raises(TypeError, match=r"num_samples"):
        model.generate("a", num_samples=2)
    with pytest.raises(TypeError, match=r"strip_prompt"):
        model.generate_details("a", strip_prompt=True)


def test_a_streamed_prompt_must_be_one_text(model):
    with pytest.raises(TypeError, match=r"prompt=\['a'\] is a list. Use a str"):
        model.stream(["a"])


@pytest.mark.parametrize("search", [BeamSearch(), ContrastiveSearch(), "beam", "contrastive"])
def test_a_search_cannot_be_streamed(model, search):
    with pytest.raises(ValueError, match=r"Search cannot be streamed: .*Use a Sampler"):
        model.stream("a", sampler=search, temperature=1.0)


def test_the_type_of_the_result_depends_on_the_prompts_alone(model):
    settings = {"max_new_tokens": 3, "sampler": Sampler(), "seed": 0}
    assert isinstance(model.generate("a", **settings), str)
    assert model.generate("a", **settings) == "a" + model.generate_details("a", **settings).text
    details = model.generate_details(["a", "b"], num_return_sequences=2, **settings)
    texts = model.generate(["a", "b"], num_return_sequences=2, strip_prompt=True, **settings)
    assert texts == [[each.text for each in row] for row in details]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"min_new_tokens": 2.5}, TypeError, "min_new_tokens=2.5 is a float"),
        ({"min_new_tokens": -1}, ValueError, "min_new_tokens=-1 is less than 0"),
        ({"bad_words": [""]}, ValueError, r"bad_words=\('',\) has an empty string"),
        ({"bad_words": 3}, TypeError, "bad_words=3 is an int"),
        ({"forced_prefix": 3}, TypeError, "forced_prefix=3 is an int"),
        ({"logit_bias": [1]}, TypeError, r"logit_bias=\[1\] is a list"),
        ({"logit_bias": {1: NAN}}, ValueError, r"logit_bias\[1\]=nan is not finite"),
        ({"logit_bias": {1: float("inf")}}, ValueError, r"logit_bias\[1\]=inf is not finite"),
        ({"logit_bias": {-1: 0.0}}, ValueError, "logit_bias=-1 is less than 0"),
    ],
)
def test_bad_logits_processors_are_an_error(fields, error, message):
    with pytest.raises(error, match=message):
        LogitsProcessors(**fields)


def test_another_backend_is_an_error(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match=r"Keras runs on the backend 'torch'"):
        compiled(text_model())


def test_a_model_of_bare_ids_generates_no_text():
    with pytest.raises(ValueError, match=r"The model has no tokenizer"):
        random_model().generate("a")
