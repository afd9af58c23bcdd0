"""Trains a character-level GPT-2 on Shakespeare by nanoGPT's two recipes, with `model.fit`.

    python examples/shakespeare_char.py tinyshakespeare.txt
    python examples/shakespeare_char.py tinyshakespeare.txt --recipe gpu
    KERAS_BACKEND=jax python examples/shakespeare_char.py tinyshakespeare.txt --recipe gpu

`cpu`: four layers of width 128, a context of 64 characters, twelve windows per step,
2000 steps: a few minutes on two CPU cores. nanoGPT publishes a validation loss of 1.88.

`gpu`: six layers of width 384, a context of 256 characters, 64 windows per step, 5000
steps, with dropout: hours on a CPU. The model overfits in the end, so the validation loss
is measured every 250 steps, and the best weights are kept. nanoGPT publishes 1.4697; this
recipe has not yet been run in full here.

nanoGPT estimates its losses on random batches of the last tenth of the text; here they are
measured on all of that tenth. Source: README.md ("quick start") and
config/train_shakespeare_char.py of karpathy/nanoGPT.
"""

import argparse
import dataclasses
from pathlib import Path

import keras
import numpy as np

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.data import make_dataset
from gpt2_keras.training import make_loss, make_optimizer

LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
BETA_2 = 0.99  # steps have few tokens, so squared gradients are averaged for longer


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The shape of the model, the batches and the number of steps."""

    num_layers: int
    num_heads: int
    hidden_dim: int
    context_length: int
    batch_size: int
    dropout_rate: float
    dtype: str
    steps: int
    evaluate_every: int


RECIPES = {
    "cpu": Recipe(4, 4, 128, 64, 12, 0.0, "float32", steps=2000, evaluate_every=2000),
    "gpu": Recipe(6, 6, 384, 256, 64, 0.2, "mixed_bfloat16", steps=5000, evaluate_every=250),
}


def train(text: str, recipe: Recipe, seed: int) -> None:
    keras.utils.set_random_seed(seed)

    # A character is a token: its id is its index in the sorted alphabet of the text.
    alphabet, tokens = np.unique(np.array(list(text)), return_inverse=True)
    train_tokens, validation_tokens = np.split(tokens, [int(0.9 * len(tokens))])
    sizes = {"context_length": recipe.context_length, "batch_size": recipe.batch_size}
    train_data = make_dataset(train_tokens, seed=seed, **sizes)
    validation_data = make_dataset(validation_tokens, shuffle=False, repeat=False, **sizes)

    model = GPT2LM(
        GPT2Config(
            vocab_size=len(alphabet),
            context_length=recipe.context_length,
            num_layers=recipe.num_layers,
            num_heads=recipe.num_heads,
            hidden_dim=recipe.hidden_dim,
            dropout_rate=recipe.dropout_rate,
        ),
        dtype=recipe.dtype,
    )
    epochs = max(1, recipe.steps // recipe.evaluate_every)
    steps_per_epoch = recipe.steps // epochs
    model.compile(
        optimizer=make_optimizer(
            LEARNING_RATE,
            total_steps=epochs * steps_per_epoch,
            warmup_steps=min(WARMUP_STEPS, recipe.steps // 2),
            beta_2=BETA_2,
        ),
        loss=make_loss(),
    )
    # Its patience never ends; it restores the best weights.
    keep_best = keras.callbacks.EarlyStopping(patience=epochs, restore_best_weights=True)
    model.fit(
        train_data,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=validation_data,
        shuffle=False,  # the dataset does
        callbacks=[keep_best],
    )

    loss = model.evaluate(validation_data, verbose=0, return_dict=True)["loss"]
    print(f"{len(alphabet)} characters, {model.count_params()} parameters")
    print(f"validation loss {loss:.4f} nats per character")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="a text file, such as tinyshakespeare.txt")
    parser.add_argument("--recipe", choices=RECIPES, default="cpu")
    parser.add_argument("--seed", type=int, default=1337)
    changes = parser.add_argument_group("changes of the recipe")
    names = [field.name for field in dataclasses.fields(Recipe)]
    for field in dataclasses.fields(Recipe):
        changes.add_argument("--" + field.name.replace("_", "-"), type=field.type)
    args = parser.parse_args()
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    recipe = dataclasses.replace(RECIPES[args.recipe], **given)
    train(args.text.read_text(encoding="utf-8"), recipe, args.seed)


if __name__ == "__main__":
    main()
