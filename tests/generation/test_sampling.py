import numpy as np
import pytest

from gpt2_keras.generation import Sampler
from gpt2_keras.generation.sampler import SamplingTensors, resolve, sampling_tensors
from gpt2_keras.generation.sampling import choose
from gpt2_keras.generation.stateless_random import uniform

SAMPLES = 20_000


def tensors(count, temperature=1.0, top_k=0, top_p=1.0, **numbers):
    sampler = Sampler(temperature, top_k, top_p, **numbers)
    return sampling_tensors(sampler, np.arange(count, dtype="int32") * 7919)


def expected_probs(logits, sampler):
    """The distribution by the definitions, one filter after the other, in plain NumPy."""
    probs = np.exp((logits - logits.max()) / sampler.temperature)
    probs /= probs.sum()

    def keep_first(order, total):
        count = int(np.searchsorted(np.cumsum(probs[order]), total - 1e-7)) + 1
        probs[order[count:]] = 0

    if sampler.top_k:
        probs[np.argsort(-probs, kind="stable")[sampler.top_k :]] = 0
        probs /= probs.sum()
    if sampler.top_p < 1:
        keep_first(np.argsort(-probs, kind="stable"), sampler.top_p)
        probs /= probs.sum()
    probs[probs < sampler.min_p * probs.max()] = 0
    probs /= probs.sum()
    if sampler.typical_p < 1:
        with np.errstate(divide="ignore"):
            chi_square = -np.log(probs)
        entropy = (probs[probs > 0] * chi_square[probs > 0]).sum()
        keep_first(np.argsort(np.abs(chi_square - entropy), kind="stable"), sampler.typical_p)
    return probs / probs.sum()


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
def test_samples_have_the_distribution_of_the_definition(sampler):
    logits = np.random.default_rng(3).normal(size=8).astype("float32") * 1.5
    probs = expected_probs(logits, sampler)
    assert (probs == 0).any() == (sampler not in [Sampler(), Sampler(0.5), Sampler(2.0)])
    numbers = sampling_tensors(sampler, np.arange(SAMPLES, dtype="int32") * 7919)
    ids = np.asarray(choose(np.tile(logits, (SAMPLES, 1)), numbers, 0))
    counts = np.bincount(ids, minlength=8)
    assert counts[probs == 0].sum() == 0
    possible = probs > 0
    chi_square = (counts - SAMPLES * probs)[possible] ** 2 / (SAMPLES * probs[possible])
    # The 99.99 % point of chi-square with 7 degrees of freedom; seeds are fixed.
    assert chi_square.sum() < 29.9


def test_temperature_zero_takes_the_most_likely():
    logits = np.random.default_rng(0).normal(size=(50, 9)).astype("float32")
    np.testing.assert_array_equal(
        choose(logits, tensors(50, temperature=0.0), 3), logits.argmax(axis=1)
    )


def test_rows_with_different_settings_are_independent():
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
    together = np.asarray(choose(logits, mixed, 5))
    alone = [int(choose(logits[i : i + 1], parts[i], 5)[0]) for i in range(5)]
    np.testing.assert_array_equal(together, alone)


def test_each_row_of_a_mixed_batch_keeps_its_own_number_of_tokens():
    logits = np.random.default_rng(1).normal(size=30).astype("float32")
    top_k = np.tile([1, 2, 5, 0], 500).astype("int32")
    mixed = tensors(2000)._replace(top_k=top_k)
    ids = np.asarray(choose(np.tile(logits, (2000, 1)), mixed, 0))
    most_likely = np.argsort(-logits)
    for k in (1, 2, 5):
        assert set(ids[top_k == k]) == set(most_likely[:k])
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
    over_seeds = np.asarray(uniform(np.arange(SAMPLES, dtype="int32"), 0))
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
def test_numbers_out_of_range_are_an_error(fields, message):
    with pytest.raises(ValueError, match=f"^{message} is"):
        Sampler(**fields)


@pytest.mark.parametrize("field", Sampler.__dataclass_fields__)
@pytest.mark.parametrize("value", [True, "1", None])
def test_a_number_of_another_type_is_an_error(field, value):
    with pytest.raises(TypeError, match=f"^{field}.* is "):
        Sampler(**{field: value})


def test_names_and_numbers_are_resolved():
    assert resolve("top_p", temperature=0.5) == Sampler(temperature=0.5, top_p=0.9)
    assert resolve(Sampler(top_k=3), top_k=4) == Sampler(top_k=4)
    with pytest.raises(ValueError, match=r"^sampler='beem' is unknown. Use one of 'greedy',"):
        resolve("beem")
