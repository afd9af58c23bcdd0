"""Each comparison, with a fake artifact that differs from the model in one thing."""

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.verification import checks
from gpt2_keras.verification.artifact import GreedyText
from gpt2_keras.verification.checks import Comparison
from tests.bfloat16 import needs_bfloat16
from tests.export.device_files import SMALL
from tests.models import text_model

TEXT = "the cat sat on the mat. " * 4


@pytest.fixture
def failures_of(model, fake_artifact):
    """The failures of a fake artifact with some of its methods replaced."""

    def failures(**replaced):
        results = checks.run_checks(model, fake_artifact(model, **replaced), TEXT)
        return [check.failure for check in results if not check.passed]

    return failures


def test_an_artifact_that_equals_the_model_passes_every_check(failures_of):
    assert failures_of() == []


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"non_builtin_ops": lambda: ["FlexMul"]},
            "The artifact has the ops FlexMul, which are not among the fake's ops. ",
        ),
        (
            {"decode": lambda rows: [b"x"] * len(rows)},
            "318 of 318 texts do not come back from their ids: b'' comes back as b'x'. ",
        ),
        (
            {"generate_greedily": lambda prompts, _: [GreedyText(p, p + "!", 4) for p in prompts]},
            "5 of 5 greedy texts differ from those of `model.generate`: 'The!', and from the model "
            "'The",
        ),
    ],
)
def test_each_difference_is_a_failure(failures_of, replaced, message):
    (failure,) = failures_of(**replaced)
    assert failure.startswith(message), failure


def test_other_ids_are_a_failure(failures_of, model):
    failure, *_ = failures_of(encode=lambda texts: [[7] for _ in texts])
    assert "texts have other ids than those of the model's tokenizer: '' has [7], and not []" in (
        failure
    )


def test_a_logit_that_is_nan_fails_with_every_dtype(failures_of, model, fake_artifact):
    def logits(token_ids):
        return np.full((1, token_ids.shape[1], model.config.vocab_size), np.nan)

    for dtype in ("float32", "int8"):
        difference, perplexity = failures_of(logits=logits, dtype=dtype)
        assert difference.startswith("The largest logit difference is nan. It must be ")
        assert "Export this model again as litert" in difference
        assert perplexity.startswith("The perplexity is nan, and from the model ")
    results = checks.run_checks(model, fake_artifact(model, logits=logits), TEXT)
    assert [check.to_dict()["figure"] for check in results][-1] is None


def test_greedy_texts_of_smaller_weights_are_only_reported(model, fake_artifact):
    def other_texts(prompts, model):
        return [GreedyText(prompt, "?", 4) for prompt in prompts]

    fake = fake_artifact(model, dtype="int8", generate_greedily=other_texts)
    results = checks.run_checks(model, fake, TEXT)
    (greedy,) = [check for check in results if check.name == "greedy texts that differ"]
    assert (greedy.figure, greedy.limit, greedy.passed) == (5, None, True)


@pytest.mark.parametrize(
    ("exact", "shift", "message"),
    [
        (True, 1e-5, ""),
        (True, 1e-4, "is 7.38832, and from the model 7.38906: they differ by 0.010%, and may by 0"),
        (False, 0.0099, ""),
        (False, 0.0102, "is 7.31407, and from the model 7.38906: they differ by 1.015%, and may b"),
    ],
)
def test_perplexities_are_equal_to_four_digits_or_a_percent(exact, shift, message):
    compared = Comparison(
        "logit", num_tokens=10, model_log_prob=-20.0, artifact_log_prob=-20.0 + 10 * shift
    )
    check = checks._check_perplexity(exact, compared)
    assert message in check.failure
    assert check.passed == (not message)
    assert check.figure == pytest.approx(shift, rel=0.01)  # |expm1(x)| is x (1 + x / 2 + …)


@needs_bfloat16
def test_a_model_that_computes_in_bfloat16_has_no_float32_limits(fake_artifact):
    model = text_model(**SMALL)
    half = GPT2LM(model.config, model.tokenizer, dtype="mixed_bfloat16")
    results = checks.run_checks(half, fake_artifact(half), TEXT)
    assert [check.limit for check in results][3:] == [None, None, 0.01]


def test_progress_is_counted_in_bytes_of_the_text(model, fake_artifact):
    calls = []
    checks.run_checks(model, fake_artifact(model), "é" * 60, lambda *call: calls.append(call))
    assert calls[-1] == (120, 120)
    assert calls == sorted(calls)
    assert len(calls) > 1
