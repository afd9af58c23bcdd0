import numpy as np
import pytest

from gpt2_keras.generation import Sampler
from gpt2_keras.generation.sampling import SamplingTensors, choose, resolve, sampling_tensors
from gpt2_keras.generation.stateless_random import uniform

DRAWS = 20_000


def tensors(count, temperature=1.0, top_k=0, top_p=1.0, **numbers):
    sampler = Sampler(temperature, top_k, top_p, **numbers)
    return sampling_tensors(sampler, np.arange(count, dtype="int32") * 7919)


def expected_shares(logits, sampler):
    """The distribution by the definitions, one filter after the other, in plain NumPy."""
    shares = np.exp((logits - logits.max()) / sampler.temperature)
    shares /= shares.sum()

    def keep_first(order, total):
        count = int(np.searchsorted(np.cumsum(shares[order]), total - 1e-7)) + 1
        shares[order[count:]] = 0

    if sampler.top_k:
        shares[np.argsort(-shares, kind="stable")[sampler.top_k :]] = 0
        shares /= shares.sum()
    if sampler.top_p < 1:
        keep_first(np.argsort(-shares, kind="stable"), sampler.top_p)
        shares /= shares.sum()
    shares[shares < sampler.min_p * shares.max()] = 0
    shares /= shares.sum()
    if sampler.typical_p < 1:
        with np.errstate(divide="ignore"):
            surprise = -np.log(shares)
        entropy = (shares[shares > 0] * surprise[shares > 0]).sum()
        keep_first(np.argsort(np.abs(surprise - entropy), kind="stable"), sampler.typical_p)
    return shares / shares.sum()


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(),
        Sampler(temperature=0.5),
        Sampler(temperature=2.0),
        Sampler(top_k=3),
        Sampler(top_p=0.7),
        Sampler(temperature=0.8, top_k=5, top_p=0.6),
        Sampler(min_p=0.15),
        Sampler(typical_p=0.6),
        Sampler(temperature=1.5, top_k=7, top_p=0.95, min_p=0.05, typical_p=0.9),
    ],
    ids=repr,
)
def test_draws_have_the_distribution_of_the_definition(sampler):
    logits = np.random.default_rng(3).normal(size=8).astype("float32") * 1.5
    shares = expected_shares(logits, sampler)
    assert (shares == 0).any() == (sampler not in [Sampler(), Sampler(0.5), Sampler(2.0)])
    numbers = sampling_tensors(sampler, np.arange(DRAWS, dtype="int32") * 7919)
    ids = choose(np.tile(logits, (DRAWS, 1)), numbers, 0).numpy()
    counts = np.bincount(ids, minlength=8)
    assert counts[shares == 0].sum() == 0
    possible = shares > 0
    surprise = (counts - DRAWS * shares)[possible] ** 2 / (DRAWS * shares[possible])
    # The 99.99 % point of chi-square with 7 degrees of freedom; seeds are fixed.
    assert surprise.sum() < 29.9


def test_temperature_zero_takes_the_likeliest():
    logits = np.random.default_rng(0).normal(size=(50, 9)).astype("float32")
    np.testing.assert_array_equal(
        choose(logits, tensors(50, temperature=0.0), 3), logits.argmax(axis=1)
    )


def test_rows_with_different_settings_do_not_touch_each_other():
    logits = np.random.default_rng(0).normal(size=(5, 30)).astype("float32")
    samplers = [
        Sampler(temperature=0.0),
        Sampler(top_p=0.5),
        Sampler(top_k=2),
        Sampler(temperature=2.0, top_k=7, top_p=0.9),
        Sampler(min_p=0.2, typical_p=0.7),
    ]
    seeds = np.arange(5, dtype="int32")
    parts = [sampling_tensors(s, seeds[i : i + 1]) for i, s in enumerate(samplers)]
    mixed = SamplingTensors(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    together = choose(logits, mixed, 5).numpy()
    alone = [int(choose(logits[i : i + 1], parts[i], 5)[0]) for i in range(5)]
    np.testing.assert_array_equal(together, alone)


def test_each_row_of_a_mixed_batch_keeps_its_own_number_of_tokens():
    logits = np.random.default_rng(1).normal(size=30).astype("float32")
    top_k = np.tile([1, 2, 5, 0], 500).astype("int32")
    mixed = tensors(2000)._replace(top_k=top_k)
    ids = choose(np.tile(logits, (2000, 1)), mixed, 0).numpy()
    likeliest = np.argsort(-logits)
    for k in (1, 2, 5):
        assert set(ids[top_k == k]) == set(likeliest[:k])
    assert len(set(ids[top_k == 0])) > 15


def uniform_by_definition(seed, step):
    """lowbias32 in Python integers."""

    def mix(x):
        x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
        x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
        return x ^ (x >> 16)

    return (mix(mix(seed % 2**32) ^ (step * 0x9E3779B9 % 2**32)) >> 8) / 2**24


def test_random_numbers_are_the_same_arithmetic_everywhere():
    seeds = np.array([0, 1, -1, 2**31 - 1, -(2**31), 123456789], "int32")
    for step in (0, 1, 2, 1000):
        expected = [uniform_by_definition(int(seed), step) for seed in seeds]
        np.testing.assert_array_equal(uniform(seeds, step), np.array(expected, "float32"))


def test_random_numbers_are_even_over_seeds_and_over_steps():
    over_seeds = uniform(np.arange(DRAWS, dtype="int32"), 0).numpy()
    over_steps = np.array([uniform(np.array([5], "int32"), step)[0] for step in range(500)])
    for numbers in (over_seeds, over_steps):
        assert (numbers >= 0).all()
        assert (numbers < 1).all()
        counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
        mean = len(numbers) / 10
        assert ((counts - mean) ** 2 / mean).sum() < 33.7  # 99.99 % of chi-square, 9 degrees
    assert abs(np.corrcoef(over_seeds[:-1], over_seeds[1:])[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"temperature": float("inf")}, "temperature=inf"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_k": 1.5}, "top_k=1.5"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"top_p": float("nan")}, "top_p=nan"),
        ({"min_p": -0.1}, "min_p=-0.1"),
        ({"min_p": 1.1}, "min_p=1.1"),
        ({"typical_p": 0.0}, "typical_p=0.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
        ({"presence_penalty": float("nan")}, "presence_penalty=nan"),
        ({"frequency_penalty": float("inf")}, "frequency_penalty=inf"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"Received: {message}"):
        Sampler(**fields)


def test_names_and_numbers_are_resolved():
    assert resolve(None) == Sampler(temperature=0.0)
    assert resolve(None, top_k=3) == Sampler(top_k=3)
    assert resolve("top_p", temperature=0.5) == Sampler(temperature=0.5, top_p=0.9)
    assert resolve(Sampler(top_k=3), top_k=4) == Sampler(top_k=4)
    with pytest.raises(ValueError, match=r"greedy, random, top_k, top_p, min_p, typical.*'beem'"):
        resolve("beem")
