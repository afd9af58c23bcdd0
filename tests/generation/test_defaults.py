"""A checkpoint's own end tokens and sampling defaults, in every path of generation."""

import json
import math

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.finetuning import GPT2Classifier, add_special_tokens
from gpt2_keras.generation import BeamSearch, ContrastiveSearch, LogitsProcessors, Sampler
from gpt2_keras.generation.defaults import default_processors, default_sampler
from gpt2_keras.generation.search.choice import choose_sampler
from gpt2_keras.generation.search.speculative_decoding import SpeculativeDecoding
from gpt2_keras.generation_config import GenerationConfig
from tests.models import text_model

PROMPTS = ["the cat", "", "a mat."]


@pytest.fixture
def model():
    return text_model()


def configured(model, **contents):
    model.generation_config = GenerationConfig(contents)
    return model


def ends_of(model, sampler):
    """The ids at which greedy texts of this sampler could end early: their third tokens."""
    return [
        each.token_ids[2]
        for each in model.generate_details(PROMPTS, max_new_tokens=8, sampler=sampler)
    ]


@pytest.mark.parametrize(
    "sampler",
    ["greedy", BeamSearch(1), ContrastiveSearch(1), "draft"],
    ids=["greedy", "beams", "contrastive", "speculative"],
)
def test_each_loop_and_search_ends_at_each_end_token_of_the_checkpoint(model, sampler):
    if sampler == "draft":
        sampler = SpeculativeDecoding(text_model(1), temperature=0.0)
    whole = [
        each.token_ids
        for each in model.generate_details(PROMPTS, max_new_tokens=8, sampler=sampler)
    ]
    ends = [int(ids[2]) for ids in whole]
    configured(model, eos_token_id=ends)
    assert model.end_token_ids == tuple(dict.fromkeys(ends))
    found = model.generate_details(PROMPTS, max_new_tokens=8, sampler=sampler)
    for ids, each in zip(whole, found, strict=True):
        count = next(index for index, token_id in enumerate(ids) if token_id in ends)
        assert (each.token_ids, each.finish_reason) == (ids[:count], "end")


def test_a_beam_search_with_several_end_tokens_is_that_of_the_definition(model):
    """Exhaustive: with as many beams as sequences, the best of all sequences that may end."""
    ends = (3, 7)
    configured(model, eos_token_id=list(ends))
    vocab = model.config.vocab_size
    ids = model.tokenizer.encode("the")

    def log_probs(row):
        logits = np.asarray(model(np.array([row])))[0, -1].astype("float64")
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    best = []
    first = log_probs(ids)
    for one in range(vocab):
        if one in ends:
            best.append((first[one], []))
            continue
        second = log_probs([*ids, one])
        for two in range(vocab):
            new = [one] if two in ends else [one, two]
            best.append(((first[one] + second[two]) / 2, new))
    best.sort(key=lambda pair: -pair[0])
    found = model.generate_details(
        "the", max_new_tokens=2, sampler=BeamSearch(vocab), num_return_sequences=4
    )
    for (score, new), each in zip(best[:4], found, strict=True):
        assert each.token_ids == new
        # float32 sums of two log-probabilities
        assert each.score == pytest.approx(score, abs=1e-5)


def test_streams_end_there_too_and_texts_do_not_end_at_another_end_token(model):
    (third, *_) = ends_of(model, "greedy")
    text = model.generate(PROMPTS[0], max_new_tokens=8, strip_prompt=True)
    configured(model, eos_token_id=third)
    short = "".join(model.stream(PROMPTS[0], max_new_tokens=8))
    assert text.startswith(short)
    assert len(short) < len(text)
    # The tokenizer's end token is text where the checkpoint names another.
    forced = LogitsProcessors(logit_bias={model.tokenizer.end_token_id: 1e9})
    details = model.generate_details("the", max_new_tokens=3, logits_processors=forced)
    assert details.token_ids == [model.tokenizer.end_token_id] * 3


def test_the_sampling_defaults_of_the_checkpoint_are_those_of_a_call(model):
    assert default_sampler(model) == Sampler(temperature=0.0)
    assert default_sampler(model, top_k=3) == Sampler(top_k=3)
    configured(model, do_sample=True, temperature=0.7, top_p=0.9, repetition_penalty=1.2)
    top_k = 50  # of transformers, where the file has none
    expected = Sampler(temperature=0.7, top_k=top_k, top_p=0.9, repetition_penalty=1.2)
    assert default_sampler(model) == choose_sampler(model, None) == expected
    given = model.generate("the", sampler=expected, seed=3, max_new_tokens=6)
    assert model.generate("the", seed=3, max_new_tokens=6) == given
    assert "".join(model.stream("the", seed=3, max_new_tokens=6)) == given.removeprefix("the")
    assert default_sampler(model, temperature=0.0).repetition_penalty == 1.2
    assert choose_sampler(model, "greedy") == Sampler(temperature=0.0)


def test_without_do_sample_the_numbers_for_sampling_do_not_count(model):
    configured(model, temperature=0.7, top_k=5, repetition_penalty=1.3, no_repeat_ngram_size=2)
    penalties = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2}
    assert default_sampler(model) == Sampler(temperature=0.0, **penalties)
    assert default_sampler(model, top_p=0.5) == Sampler(top_p=0.5, **penalties)


def test_beams_of_the_checkpoint_are_a_search_unless_a_call_says_otherwise(model):
    configured(model, num_beams=3, length_penalty=0.5)
    assert choose_sampler(model, None) == BeamSearch(3, 0.5)
    assert choose_sampler(model, None, temperature=0.5) == Sampler(temperature=0.5)
    by_name = model.generate("the", sampler=BeamSearch(3, 0.5), max_new_tokens=4)
    assert model.generate("the", max_new_tokens=4) == by_name
    with pytest.raises(ValueError, match=r"sampler=BeamSearch cannot be streamed"):
        model.stream("the")
    assert "".join(model.stream("the", sampler="greedy", max_new_tokens=2))


def test_bans_and_lengths_of_the_checkpoint_count(model):
    free = model.generate_details("the", max_new_tokens=4).token_ids
    banned, sequence = free[0], free[1:3]
    configured(
        model,
        suppress_tokens=[banned],
        bad_words_ids=[sequence],
        max_new_tokens=5,
        min_new_tokens=2,
    )
    assert default_processors(model) == LogitsProcessors(
        min_new_tokens=2, logit_bias={banned: -math.inf}, bad_words_ids=[sequence]
    )
    details = model.generate_details("the")
    assert len(details.token_ids) == 5
    assert banned not in details.token_ids
    pairs = zip(details.token_ids, details.token_ids[1:], strict=False)
    assert tuple(sequence) not in set(pairs)


def test_more_new_tokens_than_half_the_context_are_not_a_default(model):
    configured(model, max_new_tokens=4096)
    count = model.config.context_length // 2
    assert len(model.generate_details("the").token_ids) <= count


def test_ids_beyond_the_vocabulary_end_nothing(model):
    """As in a small model's config that was made from the defaults of GPT-2."""
    model.generation_config = GenerationConfig({}, {"eos_token_id": 50256})
    assert model.end_token_ids == (model.tokenizer.end_token_id,)


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_loading_and_saving_keep_what_a_checkpoint_says(model, tmp_path, name):
    model.save_to_preset(tmp_path / "a")
    path = tmp_path / "a" / name
    contents = json.loads(path.read_text())
    contents |= {"eos_token_id": [5, 6], "bos_token_id": 4, "pad_token_id": 5}
    if name == "generation_config.json":
        contents |= {"do_sample": True, "top_k": 7, "transformers_version": "4.57.0"}
    else:
        (tmp_path / "a" / "generation_config.json").unlink()
    path.write_text(json.dumps(contents))
    loaded = GPT2LM.from_preset(tmp_path / "a")
    assert loaded.end_token_ids == (5, 6)
    loaded.save_to_preset(tmp_path / "b")
    assert json.loads((tmp_path / "b" / name).read_text()) == contents
    generation = json.loads((tmp_path / "b" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [5, 6]
    assert GPT2LM.from_preset(tmp_path / "b").generation_config == loaded.generation_config or (
        name == "config.json"  # there was no generation_config.json, and now there is
    )


def test_keras_files_clones_and_larger_vocabularies_keep_it(model, tmp_path):
    import keras

    configured(model, eos_token_id=[5, 6], do_sample=True)
    model.save(tmp_path / "model.keras")
    kept = [
        keras.models.load_model(tmp_path / "model.keras"),
        keras.models.clone_model(model),
        add_special_tokens(model, ["<|x|>"]),
    ]
    assert [each.end_token_ids for each in kept] == [(5, 6)] * 3
    assert all(each.generation_config == model.generation_config for each in kept)


def test_what_is_not_followed_is_said_and_kept(model, tmp_path):
    model.save_to_preset(tmp_path / "a")
    contents = {"num_beam_groups": 2, "epsilon_cutoff": 0.0, "_from_model_config": True}
    (tmp_path / "a" / "generation_config.json").write_text(json.dumps(contents))
    with pytest.warns(UserWarning, match=r"generation_config\.json has num_beam_groups=2, which"):
        loaded = GPT2LM.from_preset(tmp_path / "a")
    loaded.save_to_preset(tmp_path / "b")
    assert json.loads((tmp_path / "b" / "generation_config.json").read_text()) == contents


@pytest.mark.parametrize(
    ("error", "contents", "message"),
    [
        (TypeError, {"eos_token_id": "</s>"}, r"^eos_token_id of x\.json='</s>' is a str"),
        (ValueError, {"eos_token_id": [3, -1]}, r"^eos_token_id of x\.json=-1 is less than 0"),
        (TypeError, {"max_new_tokens": 2.5}, r"^max_new_tokens of x\.json=2\.5 is a float"),
        (ValueError, {"num_beams": 0}, r"^num_beams of x\.json=0 is less than 1"),
        (TypeError, {"do_sample": "yes"}, r"^do_sample of x\.json='yes' is a str"),
    ],
)
def test_a_damaged_generation_config_is_an_error(error, contents, message):
    with pytest.raises(error, match=message):
        GenerationConfig(contents, source="x.json")


@pytest.mark.parametrize(
    ("error", "words", "message"),
    [
        (ValueError, [[]], r"^bad_words_ids\[0\] is empty"),
        (TypeError, [3], r"^bad_words_ids\[0\]=3 is an int"),
        (TypeError, [["a"]], r"^a token id of bad_words_ids\[0\]='a' is a str"),
    ],
)
def test_bad_words_ids_that_are_none_are_errors(error, words, message):
    with pytest.raises(error, match=message):
        LogitsProcessors(bad_words_ids=words)


def test_every_text_path_takes_a_policy(model):
    larger = add_special_tokens(model, ["<|user|>"])
    (user,) = (i for name, i in larger.tokenizer.special_tokens.items() if name == "<|user|>")
    text = "<|user|>the"
    assert user in larger.score(text).token_ids
    assert user not in larger.score(text, special_tokens="none").token_ids
    for path in (
        lambda **how: (
            larger.generate_details(
                "the",
                logits_processors=LogitsProcessors(forced_prefix="<|user|>"),
                max_new_tokens=12,
                **how,
            ).token_ids
        ),
        lambda **how: cached(larger, text, **how).token_ids,
    ):
        assert path()[0] == user
        assert user not in path(special_tokens="none")[:1]
    one, other = (larger.next_tokens(text, special_tokens=p) for p in ("added", "none"))
    assert [each.probability for each in one] != [each.probability for each in other]
    assert larger.next_tokens(text) == one
    default, plain = (
        larger.generate(text, max_new_tokens=4, **how) for how in ({}, {"special_tokens": "none"})
    )
    assert default.startswith(text)
    assert plain.startswith(text)
    streamed = "".join(larger.stream(text, max_new_tokens=4, special_tokens="none"))
    assert streamed == plain.removeprefix(text)
    beams = larger.generate_details(text, sampler="beam", max_new_tokens=2, special_tokens="none")
    assert beams.prompt == text


def test_a_classifier_takes_a_policy_too(model):
    larger = add_special_tokens(model, ["<|user|>"])
    user = larger.tokenizer.special_tokens["<|user|>"]
    classifier = GPT2Classifier(larger, ["no", "yes"])
    assert user in classifier.encode(["<|user|>a"])["token_ids"]
    assert user not in classifier.encode(["<|user|>a"], special_tokens="none")["token_ids"]
    assert classifier.classify(["<|user|>a"], special_tokens="none")[0] in ("no", "yes")


def cached(model, text, **how):
    from gpt2_keras.generation import cache_prefix

    return cache_prefix(model, text, **how)
