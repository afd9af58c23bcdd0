"""A character-level GPT-2 on Shakespeare: nanoGPT's CPU recipe, with `model.fit`.

    python examples/shakespeare_char.py tinyshakespeare.txt

Four layers of width 128 see 64 characters at a time, twelve windows a step, for
2000 steps: a few minutes on two CPU cores. nanoGPT publishes a validation loss of
1.88 for it, estimated on 20 random batches of the last tenth of the text; here it
is measured on all of that tenth. Source: README.md ("I only have a macbook") and
config/train_shakespeare_char.py of karpathy/nanoGPT.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from gpt2_keras import GPT2LM, GPT2Config
from gpt2_keras.data import make_dataset
from gpt2_keras.training import make_loss, make_optimizer

CONTEXT_LENGTH = 64
BATCH_SIZE = 12
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
BETA_2 = 0.99  # a step has few tokens, so squared gradients are remembered for longer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="a text file, such as tinyshakespeare.txt")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1337)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)

    # A character is a token: its id is its place in the sorted alphabet of the text.
    characters = np.array(list(args.text.read_text(encoding="utf-8")))
    alphabet, tokens = np.unique(characters, return_inverse=True)
    train_tokens, validation_tokens = np.split(tokens, [int(0.9 * len(tokens))])
    sizes = {"context_length": CONTEXT_LENGTH, "batch_size": BATCH_SIZE}
    train_data = make_dataset(train_tokens, seed=args.seed, **sizes)
    validation_data = make_dataset(validation_tokens, shuffle=False, repeat=False, **sizes)

    model = GPT2LM(
        GPT2Config(
            vocab_size=len(alphabet),
            context_length=CONTEXT_LENGTH,
            num_layers=4,
            num_heads=4,
            hidden_dim=128,
            dropout_rate=0.0,
        )
    )
    model.compile(
        optimizer=make_optimizer(
            LEARNING_RATE,
            total_steps=args.steps,
            warmup_steps=min(WARMUP_STEPS, args.steps // 2),
            beta_2=BETA_2,
        ),
        loss=make_loss(),
    )
    model.fit(train_data, steps_per_epoch=args.steps)

    loss = model.evaluate(validation_data, verbose=0, return_dict=True)["loss"]
    print(f"{len(alphabet)} characters, {model.count_params()} parameters")
    print(f"validation loss {loss:.4f} nats a character")


if __name__ == "__main__":
    main()
