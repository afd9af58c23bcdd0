import json
import math

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.understanding import Exploration, edit, explore, record, words
from gpt2_keras.understanding.exploration import character_spans
from gpt2_keras.understanding.lens import lens_logits, lens_names, predict
from tests import reference
from tests.bfloat16 import needs_bfloat16
from tests.models import TINY, random_ids, random_model, text_model, weights_of
from tests.test_model import ROUNDING

TEXT = "the cat's log"


@pytest.fixture(scope="module")
def model():
    return text_model(context_length=64)


@pytest.fixture(scope="module")
def exploration(model):
    return explore(model, TEXT, k=5)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_every_number_equals_the_oracles(model, exploration):
    ids = exploration.token_ids
    assert ids.tolist() == [model.tokenizer.end_token_id, *model.tokenizer.encode(TEXT)]
    logits = reference.logits(weights_of(model), ids[None], model.config.num_heads)[0]
    log_probs = log_softmax(logits)  # (time, vocab)
    # Each is a difference of logits, of which the largest is off by its own rounding.
    close = {"rtol": 0, "atol": 4 * ROUNDING * np.abs(logits).max()}
    own = log_probs[np.arange(len(ids) - 1), ids[1:]]
    assert math.isnan(exploration.log_probs[0])
    np.testing.assert_allclose(exploration.log_probs[1:], own, **close)
    np.testing.assert_allclose(exploration.bits[1:], -own / np.log(2), **close)
    ranks = (log_probs[:-1] > own[:, None]).sum(axis=1) + 1
    assert exploration.ranks.tolist() == [0, *ranks]
    entropies = -(np.exp(log_probs) * log_probs).sum(axis=1)
    np.testing.assert_allclose(exploration.entropies, entropies, **close)
    best = np.argsort(-log_probs, axis=1)[:, :5]
    np.testing.assert_array_equal(exploration.candidate_ids, best)
    probs = np.exp(np.take_along_axis(log_probs, best, 1))
    np.testing.assert_allclose(exploration.candidate_probs, probs, **close)


def test_it_agrees_with_score_and_next_tokens(model, exploration):
    score = model.score(TEXT)
    np.testing.assert_allclose(exploration.log_probs[1:], score.log_probs, atol=1e-4)
    assert exploration.tokens[1:] == score.tokens
    # `next_tokens` reads the text without a start token.
    plain = explore(model, TEXT, k=3, start_token=False)
    for found, token, probability in zip(
        model.next_tokens(TEXT, k=3),
        plain.candidate_ids[-1],
        plain.candidate_probs[-1],
        strict=True,
    ):
        assert found.id == token
        assert found.probability == pytest.approx(probability, rel=1e-4)


def test_attention_is_that_of_the_forward_pass_and_its_rows_sum_to_1(model, exploration):
    ids, config = exploration.token_ids, model.config
    time = len(ids)
    assert exploration.attention.shape == (config.num_layers, config.num_heads, time, time)
    for layer in range(config.num_layers):
        name = f"blocks.{layer}.attn.hook_pattern"
        pattern = record(model, ids, name)[name][0]
        np.testing.assert_array_equal(exploration.attention[layer], pattern.astype("float16"))
    # Halves are off by 2⁻¹¹ of their value at most, and those of a row sum to 1.
    sums = exploration.attention.astype("float64").sum(axis=-1)
    np.testing.assert_allclose(sums, 1, atol=2**-11)
    assert not np.triu(exploration.attention, 1).any()


@pytest.mark.parametrize("dtype", ["float32", pytest.param("mixed_bfloat16", marks=needs_bfloat16)])
def test_the_lens_ends_at_the_logits_bit_for_bit_in_every_policy(dtype):
    model = random_model(dtype=dtype)
    ids = random_ids((1, 11))
    last = list(lens_names(TINY.num_layers).values())[-1]
    assert last == "blocks.1.hook_resid_post"
    seen = {}
    with edit(model, {last: lambda value, name, seen=seen: seen.update({name: value})}):
        logits = np.array(model(ids))
    np.testing.assert_array_equal(lens_logits(model, seen[last]), logits)
    whole = explore(model, ids[0], k=4)
    np.testing.assert_array_equal(whole.lens.ids[-1], whole.candidate_ids)
    np.testing.assert_array_equal(whole.lens.probs[-1], whole.candidate_probs)
    np.testing.assert_array_equal(whole.lens.ranks[-1][:-1], whole.ranks[1:])
    assert not whole.lens.kl[-1].any()


def test_every_point_of_the_lens_normalizes_the_stream_anew(model, exploration):
    ids = exploration.token_ids
    weights = weights_of(model)
    norm = {name.removeprefix("transformer."): value for name, value in weights.items()}
    final = log_softmax(reference.logits(weights, ids[None], model.config.num_heads)[0])
    points = lens_names(model.config.num_layers)
    assert exploration.lens.points == list(points)
    assert len(points) == 5
    residuals = record(model, ids, list(points.values()))
    for index, name in enumerate(points.values()):
        x = reference.norm(residuals[name][0].astype("float64"), norm, "ln_f")
        log_probs = log_softmax(x @ norm["wte.weight"].T)
        best = np.argsort(-log_probs, axis=1)[:, :5]
        np.testing.assert_array_equal(exploration.lens.ids[index], best)
        probs = np.exp(np.take_along_axis(log_probs, best, 1))
        np.testing.assert_allclose(exploration.lens.probs[index], probs, atol=1e-4)
        kl = (np.exp(final) * (final - log_probs)).sum(axis=1)
        np.testing.assert_allclose(exploration.lens.kl[index], kl, atol=1e-3)
        targets = [*ids[1:], final[-1].argmax()]
        own = np.take_along_axis(log_probs, np.array(targets)[:, None], 1)
        ranks = (log_probs > own).sum(axis=1) + 1
        np.testing.assert_array_equal(exploration.lens.ranks[index], ranks)


def test_among_equals_the_smaller_id_ranks_first():
    logits = np.array([[1.0, 3.0, 3.0, 0.0, 3.0]], "float32")
    found = [predict(logits, np.array([target]), 5) for target in range(5)]
    assert [each.ranks[0] for each in found] == [4, 1, 2, 5, 3]
    assert found[0].ids[0].tolist() == [1, 2, 4, 0, 3]


def test_ids_are_explored_by_a_model_without_tokenizer():
    model = random_model()
    exploration = explore(model, [5, 6, 7], k=2)
    assert exploration.token_ids.tolist() == [5, 6, 7]
    assert exploration.tokens == ["[5]", "[6]", "[7]"]
    assert np.isnan(exploration.word_start_log_probs).all()
    json.dumps(exploration.to_dict(), allow_nan=False)


def test_layers_may_be_chosen(model, exploration):
    some = explore(model, TEXT, layers=[1])
    assert some.layers == (1,)
    np.testing.assert_array_equal(some.attention, exploration.attention[1:])


def test_a_text_as_long_as_the_context_has_no_start_token(model):
    ids = model.tokenizer.encode("cat " * 100)
    full = model.tokenizer.decode(ids[: model.config.context_length])
    count = len(model.tokenizer.encode(full))
    assert count == model.config.context_length
    assert len(explore(model, full).token_ids) == count
    message = f"has {count + 1} tokens with the start token and context_length={count}"
    with pytest.raises(ValueError, match=message):
        explore(model, full, start_token=True)
    with pytest.raises(ValueError, match=rf"{count + 1} tokens and context_length={count}"):
        explore(model, full + " cat")


def test_characters_are_those_that_a_token_is_part_of(model):
    text = "aé𝄞 cat"
    found = explore(model, text)
    assert (found.starts[0], found.ends[0]) == (0, 0)
    shown = b"".join(found.token_bytes[1:])
    assert shown == text.encode()
    spans = zip(found.starts[1:], found.ends[1:], found.token_bytes[1:], strict=True)
    for start, end, data in spans:
        assert data in text[start:end].encode()
    assert found.ends[-1] == len(text)
    starts, ends = character_spans([each.encode() for each in text])
    assert starts.tolist() == list(range(len(text)))
    assert ends.tolist() == list(range(1, len(text) + 1))


def test_json_has_all_of_it(model, exploration):
    data = json.loads(json.dumps(exploration.to_dict(), allow_nan=False))
    assert data["token_ids"] == exploration.token_ids.tolist()
    assert data["log_probs"][0] is None
    assert data["ranks"][0] is None
    assert data["log_probs"][1:] == exploration.log_probs[1:].tolist()
    assert bytes.fromhex("".join(data["token_bytes"][1:])).decode() == TEXT
    np.testing.assert_allclose(data["attention"], exploration.attention, atol=1e-5)
    first = data["candidates"][2][0]
    assert first["id"] == exploration.candidate_ids[2, 0]
    assert first["token"] == model.tokenizer.decode([first["id"]])
    assert first["probability"] == pytest.approx(exploration.candidate_probs[2, 0], abs=1e-5)
    assert data["lens"]["points"] == exploration.lens.points
    assert data["lens"]["ranks"] == exploration.lens.ranks.tolist()
    assert len(data["lens"]["candidates"]) == len(exploration.lens.points)


def test_a_saved_exploration_is_loaded_as_it_was(exploration, tmp_path):
    path = exploration.save(tmp_path / "text.npz")
    again = Exploration.load(path)
    np.testing.assert_equal(again.to_dict(), exploration.to_dict())
    np.testing.assert_array_equal(again.attention, exploration.attention)
    assert again.attention.dtype == exploration.attention.dtype
    with pytest.raises(FileExistsError, match=r"text.npz exists, and nothing is overwritten"):
        exploration.save(path)
    with pytest.raises(FileNotFoundError):
        Exploration.load(tmp_path / "none.npz")


def test_another_file_is_no_exploration(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK")
    np.savez(tmp_path / "b.npz", a=np.zeros(3))
    np.savez(tmp_path / "c.npz", texts=np.array('{"version": 9}'))
    for name in "ab":
        with pytest.raises(ValueError, match=f"{name}.npz is no exploration"):
            Exploration.load(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="has version 9, and this gpt2_keras reads 1"):
        Exploration.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("", {}, ValueError, "text='' has no token"),
        ([], {}, ValueError, "have no token"),
        (3, {}, TypeError, "token_ids=3 is of the type int"),
        ("cat", {"k": 0}, ValueError, "k=0"),
        ("cat", {"k": 10**6}, ValueError, "k=1000000"),
        ("cat", {"layers": [0, 2]}, ValueError, r"layers\[1\]=2"),
        ("cat", {"layers": 1}, TypeError, "layers=1 is an int"),
    ],
)
def test_wrong_arguments_are_told(model, text, options, error, message):
    with pytest.raises(error, match=message):
        explore(model, text, **options)


def test_a_text_for_a_model_without_tokenizer_is_told():
    with pytest.raises(ValueError, match="The model has no tokenizer"):
        explore(random_model(), "cat")


def test_words_are_corrected_for_their_beginnings(model):
    text = "the cat's\n log!"
    found = explore(model, text)
    groups = words(found)
    assert [each.text for each in groups] == ["the", " cat's", "\n log!"]
    logits = np.array(model(found.token_ids[None]))[0].astype("float64")
    tokens = model.tokenizer.token_bytes
    begins = [data[:1].isspace() or index == model.tokenizer.end_token_id
              for index, data in enumerate(tokens)]  # fmt: skip
    log_probs = log_softmax(logits)
    mass = np.log(np.exp(log_probs[:, begins]).sum(axis=1))
    for index, word in enumerate(groups):
        positions = range(word.first, word.last + 1)
        total = sum(log_probs[i - 1, found.token_ids[i]] for i in positions)
        assert word.uncorrected == pytest.approx(total, abs=1e-4)
        before = mass[word.first - 1] if index else 0.0
        assert word.log_prob == pytest.approx(total + mass[word.last] - before, abs=1e-4)
        assert word.bits == pytest.approx(-word.log_prob / np.log(2))
    # The whole text and the end of its last word: nothing is lost between words.
    assert sum(each.log_prob for each in groups) == pytest.approx(
        found.log_probs[1:].sum() + mass[-1], abs=1e-3
    )


def test_after_a_word_another_begins_or_it_goes_on(model):
    base = explore(model, "the")
    starts = math.exp(base.word_start_log_probs[-1])
    logits = np.array(model(base.token_ids[None]))[0, -1].astype("float64")
    going_on = [not data[:1].isspace() and index != model.tokenizer.end_token_id
                for index, data in enumerate(model.tokenizer.token_bytes)]  # fmt: skip
    rest = np.exp(log_softmax(logits))[going_on].sum()
    assert starts + rest == pytest.approx(1, abs=1e-5)


def test_special_tokens_are_part_of_no_word(model):
    found = explore(model, "the cat<|endoftext|>the dog", special_tokens="all")
    assert found.is_special.sum() == 2
    assert [each.text for each in words(found)] == ["the", " cat", "the", " dog"]


def test_words_need_a_tokenizer():
    with pytest.raises(ValueError, match="has no texts of tokens"):
        words(explore(random_model(), [1, 2]))


def test_a_whole_published_shape_is_explored():
    """Layers, heads and points of the lens have the numbers of the config, whatever they are."""
    config = TINY.__class__(97, 17, 3, 4, 24, dropout_rate=0.0)
    found = explore(GPT2LM(config), list(range(17)), k=97)
    assert found.attention.shape == (3, 4, 17, 17)
    assert found.lens.ids.shape == (7, 17, 97)
