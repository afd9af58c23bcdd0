"""Run on JAX: what an error in a batch leaves of a model; prints the cases that lost something."""

import keras
import numpy as np

from gpt2_keras import GPT2LM, GPT2Config

CONFIG = GPT2Config(vocab_size=50, context_length=8, num_layers=1, num_heads=2, hidden_dim=8)
X = np.random.default_rng(0).integers(0, 50, (2, 8))
WRONG = X + 50 * (X[0, 0] == X)


class Batches(keras.utils.PyDataset):
    """Right batches, then a wrong one."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def __len__(self):
        return self.count + 1

    def __getitem__(self, index):
        return (WRONG, X) if index == self.count else (X, X)


def values(model):
    """Weights and moments; the schedule is that of the last call of `fit`."""
    moments = [each for each in model.optimizer.variables if len(each.shape) > 1]
    return [keras.ops.convert_to_numpy(each) for each in (*model.weights, *moments)]


def is_same(before, after):
    return all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def main():
    for method in ("fit", "evaluate", "predict"):
        for count in (0, 2):
            model = GPT2LM(CONFIG)
            model.compile()
            model.fit(X, X, verbose=0)
            before = values(model)
            try:
                getattr(model, method)(Batches(count), verbose=0)
                print(method, count, "accepted a wrong id")
            except ValueError as error:
                if "token_ids has the id" not in str(error):
                    raise
            after = values(model)
            if method == "fit" and count > 0:  # some steps may have been taken
                is_kept = all(np.any(moment) for moment in after[len(model.weights) :])
            else:
                is_kept = is_same(before, after)
            if not is_kept:
                print(method, count, "has other weights")
            if not np.isfinite(model.fit(X, X, verbose=0).history["loss"]).all():
                print(method, count, "cannot go on")


if __name__ == "__main__":
    main()
