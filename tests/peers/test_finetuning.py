"""Our classifiers and adapters in transformers and PEFT, and theirs in ours."""

import numpy as np
import pytest

from gpt2_keras.finetuning import (
    GPT2Classifier,
    enable_lora,
    load_adapter,
    merge_lora,
    save_adapter,
)
from tests.models import random_ids, text_model
from tests.test_model import assert_close

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["the cat sat", "the dog sat on the log", "dog"]


def test_a_classifier_computes_the_same_in_transformers(tmp_path):
    ours = GPT2Classifier(text_model(), ["cats", "dogs", "none"])
    ours.head.kernel.assign(np.random.default_rng(0).normal(size=(16, 3)))
    ours.save_to_preset(tmp_path / "ours")
    theirs = transformers.GPT2ForSequenceClassification.from_pretrained(tmp_path / "ours").eval()
    assert theirs.config.id2label == {0: "cats", 1: "dogs", 2: "none"}
    inputs = ours.encode(TEXTS)
    ids = torch.tensor(inputs["token_ids"]).long()
    mask = torch.tensor(inputs["padding_mask"]).long()
    with torch.no_grad():
        expected = theirs(ids, attention_mask=mask).logits.numpy()
    assert_close(ours(inputs), expected)
    theirs.save_pretrained(tmp_path / "theirs")
    again = GPT2Classifier.from_preset(tmp_path / "theirs")
    ids_alone = inputs["token_ids"][:1]
    np.testing.assert_array_equal(again(ids_alone), ours(ids_alone))


@pytest.mark.parametrize("layers", [("qkv",), ("qkv", "output_projection", "expand", "project")])
def test_an_adapter_computes_the_same_in_peft(tmp_path, layers):
    peft = pytest.importorskip("peft")
    model = text_model()
    model.save_to_preset(tmp_path / "base")
    enable_lora(model, 3, layers, alpha=6)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape) * 0.2)
    save_adapter(model, tmp_path / "adapter")
    base = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    ids = random_ids((2, 12), model.config)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids).long()).logits.numpy()
    assert_close(model(ids), expected)
    theirs.save_pretrained(tmp_path / "theirs")
    again = text_model()
    load_adapter(again, tmp_path / "theirs")
    np.testing.assert_array_equal(again(ids), model(ids))
    merge_lora(again)
    with torch.no_grad():
        merged = theirs.merge_and_unload()(torch.tensor(ids).long()).logits.numpy()
    assert_close(again(ids), merged)
