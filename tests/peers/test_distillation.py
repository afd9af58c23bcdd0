"""The loss of a student against PyTorch's, put together as DistilGPT2's script does.

Source: `step` in huggingface/transformers-research-projects distillation/distiller.py: KLDivLoss of
`log_softmax(student / T)` and `softmax(teacher / T)`, batchmean, times T²; CrossEntropyLoss;
CosineEmbeddingLoss of the last hidden states.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")  # before TensorFlow: triton crashes after it

import tensorflow as tf  # noqa: E402

from gpt2_keras.training.distillation import Distillation  # noqa: E402
from tests.models import random_model  # noqa: E402

ROWS, WIDTH, VOCAB = 13, 16, 57
ALPHAS = {"alpha_ce": 5.0, "alpha_clm": 2.0, "alpha_cos": 1.0}  # DistilBERT's


def numbers():
    random = np.random.default_rng(0)
    states, teacher_states = random.normal(size=(2, ROWS, WIDTH)).astype("float32")
    table, teacher_table = random.normal(size=(2, VOCAB, WIDTH)).astype("float32")
    return states, table, random.integers(0, VOCAB, ROWS), teacher_states, teacher_table


def by_torch(temperature):
    states, table, targets, teacher_states, teacher_table = map(torch.tensor, numbers())
    states.requires_grad_()
    table.requires_grad_()
    logits, teacher_logits = states @ table.T, teacher_states @ teacher_table.T
    divergence = torch.nn.KLDivLoss(reduction="batchmean")(
        torch.nn.functional.log_softmax(logits / temperature, dim=-1),
        torch.nn.functional.softmax(teacher_logits / temperature, dim=-1),
    )
    loss = ALPHAS["alpha_ce"] * divergence * temperature**2
    loss = loss + ALPHAS["alpha_clm"] * torch.nn.CrossEntropyLoss()(logits, targets)
    cosine = torch.nn.CosineEmbeddingLoss(reduction="mean")
    loss = loss + ALPHAS["alpha_cos"] * cosine(states, teacher_states, torch.ones(ROWS))
    loss.backward()
    return loss.item(), states.grad.numpy(), table.grad.numpy()


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_loss_and_gradients_equal_those_of_the_script(temperature):
    states, table, targets, *teacher = numbers()
    states, table = tf.constant(states), tf.constant(table)
    distillation = Distillation(random_model(), temperature, **ALPHAS)
    with tf.GradientTape() as tape:
        tape.watch([states, table])
        total, _ = distillation.loss_sums(
            states, table, targets, tf.ones(ROWS), teacher=tuple(teacher), chunk_rows=4
        )
        loss = total / ROWS
    found = (float(loss), *(each.numpy() for each in tape.gradient(loss, [states, table])))
    for ours, theirs in zip(found, by_torch(temperature), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
