"""Parity with transformers: attention, the residual stream, and gradients."""

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.understanding import attribute, explore, record
from tests.test_model import assert_close

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.peers.models import SHAPES, ids_of, numbers, their_model  # noqa: E402


@pytest.fixture(params=SHAPES)
def pair(request, tmp_path):
    """Their model, which gives its attention, and ours, read from their directory."""
    theirs = their_model(SHAPES[request.param])
    theirs.save_pretrained(tmp_path / "theirs")
    theirs.set_attn_implementation("eager")
    return theirs, GPT2LM.from_preset(tmp_path / "theirs")


def test_attention_and_hidden_states_are_equal(pair):
    theirs, ours = pair
    layers = ours.config.num_layers
    ids = ids_of(ours.config, (2, min(ours.config.context_length, 40)))
    with torch.no_grad():
        expected = theirs(
            torch.tensor(ids).long(), output_attentions=True, output_hidden_states=True
        )
    found = record(ours, ids, ["*.hook_pattern", "*.hook_resid_pre", "ln_final.hook_normalized"])
    states = [found[f"blocks.{layer}.hook_resid_pre"] for layer in range(layers)]
    states.append(found["ln_final.hook_normalized"])
    for layer in range(layers):
        pattern = found[f"blocks.{layer}.attn.hook_pattern"]
        np.testing.assert_allclose(pattern, numbers(expected.attentions[layer]), atol=1e-4)
    for state, value in zip(states, expected.hidden_states, strict=True):
        assert_close(state, numbers(value))
    whole = explore(ours, ids[0])
    for layer in range(layers):
        weights = numbers(expected.attentions[layer])[0]
        np.testing.assert_allclose(whole.attention[layer], weights, atol=2**-11)
    logits = expected.logits[0]
    log_probs = numbers(torch.log_softmax(logits, dim=-1))
    own = log_probs[np.arange(len(ids[0]) - 1), ids[0, 1:]]
    np.testing.assert_allclose(whole.log_probs[1:], own, atol=1e-4)
    np.testing.assert_array_equal(whole.candidate_ids[:, 0], log_probs.argmax(axis=1))


@pytest.mark.parametrize("foil", [None, 7])
def test_gradients_are_equal(pair, foil):
    theirs, ours = pair
    ids = ids_of(ours.config, (1, min(ours.config.context_length, 16)))
    embeddings = theirs.transformer.wte(torch.tensor(ids).long()).detach().requires_grad_()
    logits = theirs(inputs_embeds=embeddings).logits[0, -1]
    log_probs = torch.log_softmax(logits, dim=-1)
    score = log_probs[5] if foil is None else logits[5] - logits[foil]
    (gradient,) = torch.autograd.grad(score, embeddings)
    expected = {
        "input_x_gradient": (gradient * embeddings).sum(dim=-1),
        "gradient_norm": gradient.norm(dim=-1),
    }
    for method, values in expected.items():
        found = attribute(ours, ids[0], 5, foil, method)
        assert found.score == pytest.approx(float(score), abs=1e-4)
        scale = max(1.0, float(values.abs().max()))
        np.testing.assert_allclose(found.values, numbers(values)[0], atol=1e-4 * scale)
