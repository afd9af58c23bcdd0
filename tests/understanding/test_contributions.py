import numpy as np
import pytest

from gpt2_keras import finetuning
from gpt2_keras.understanding import contributions, edit
from tests.models import TINY, random_ids, random_model, text_model, weights_of
from tests.understanding import oracle

IDS = random_ids((7,))


@pytest.mark.parametrize("foil", [None, 9])
@pytest.mark.parametrize("seed", range(3))
def test_contributions_add_up_to_the_logit(seed, foil):
    model = random_model(seed=seed)
    found = contributions(model, IDS, 5, foil)
    logits = np.array(model(IDS[None]))[0, -1]
    expected = logits[5] - (0 if foil is None else logits[foil])
    assert found.logit == pytest.approx(expected, abs=1e-5)
    assert found.total == pytest.approx(found.logit, abs=1e-4)
    assert found.heads.shape == (TINY.num_layers, TINY.num_heads)
    assert np.abs(found.heads).min() > 1e-4  # each adds something, or the sum would prove little


def test_each_part_adds_what_the_oracle_says():
    model = random_model()
    weights = weights_of(model)
    found = contributions(model, IDS, 5, 9)
    acts = oracle.activations(weights, IDS[None], TINY.num_heads)
    weights = {name.removeprefix("transformer."): value for name, value in weights.items()}
    direction = weights["wte.weight"][5] - weights["wte.weight"][9]

    def added(part):
        part = (part - part.mean()) / acts["ln_final.hook_scale"][0, -1]
        return (part * weights["ln_f.weight"]) @ direction

    close = {"rel": 1e-3, "abs": 1e-5}
    assert found.embedding == pytest.approx(added(acts["hook_embed"][0, -1]), **close)
    assert found.position_embedding == pytest.approx(added(acts["hook_pos_embed"][0, -1]), **close)
    assert found.final_norm_bias == pytest.approx(weights["ln_f.bias"] @ direction, **close)
    for layer in range(TINY.num_layers):
        mlp = added(acts[f"blocks.{layer}.hook_mlp_out"][0, -1])
        assert found.feed_forward[layer] == pytest.approx(mlp, **close)
        bias = added(weights[f"h.{layer}.attn.c_proj.bias"])
        assert found.attention_biases[layer] == pytest.approx(bias, **close)
        z = acts[f"blocks.{layer}.attn.hook_z"][0, -1]
        kernel = weights[f"h.{layer}.attn.c_proj.weight"]  # (width, width), in first
        size = len(kernel) // TINY.num_heads
        for head in range(TINY.num_heads):
            result = z[head] @ kernel[head * size : (head + 1) * size]
            assert found.heads[layer, head] == pytest.approx(added(result), **close)


def test_a_head_without_output_contributes_nothing():
    model = text_model()

    def without(value, name):
        return value * np.array([1.0, 0.0], "float32")[:, None]

    with edit(model, {"blocks.1.attn.hook_z": without}):
        found = contributions(model, "the cat", " sat")
    assert found.heads[1, 1] == 0
    assert found.heads[1, 0] != 0
    assert found.total == pytest.approx(found.logit, abs=1e-4)


def test_what_lora_has_learned_is_counted():
    model = random_model()
    finetuning.enable_lora(model, rank=2, layers=["qkv", "output_projection"])
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape) * 0.3)
    found = contributions(model, IDS, 5)
    assert found.total == pytest.approx(found.logit, abs=1e-4)


def test_wrong_tokens_are_told():
    with pytest.raises(ValueError, match="target=300 is not in the vocabulary"):
        contributions(random_model(), IDS, 300)
    with pytest.raises(ValueError, match="foil='catdog' is"):
        contributions(text_model(), "the", " cat", "catdog")
