"""Texts, scores and searches of one model, to compare backends; a program that writes them.

KERAS_BACKEND=jax python -m tests.generation.cases OUT.json
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from gpt2_keras.generation import (
    BeamSearch,
    ContrastiveSearch,
    LogitsProcessors,
    Sampler,
    SpeculativeDecoding,
    cache_prefix,
    decoding_loop,
)
from tests.models import CORPUS, text_model

PROMPTS = ["the cat", "the", "on the mat, and the dog"]
GREEDY = {"temperature": 0.0}


def sampled(model, **arguments):
    return model.generate(PROMPTS, max_new_tokens=12, seed=3, **arguments)


def exact(model):
    """What is equal on every backend, by the name of the case."""
    processors = LogitsProcessors(
        min_new_tokens=5,
        logit_bias={30: 2.0, 31: -float("inf")},
        bad_words=["cat"],
        forced_prefix=" so",
    )
    penalties = {"repetition_penalty": 1.3, "presence_penalty": 0.2, "frequency_penalty": 0.1}
    draft = text_model(num_layers=1, context_length=64)
    text = "".join(CORPUS)
    many = [text[start : start + start % 23 + 1] for start in range(100)]
    return {
        "greedy": model.generate(PROMPTS, max_new_tokens=20),
        "alone": [model.generate(prompt, max_new_tokens=20) for prompt in PROMPTS],
        "100 prompts": model.generate(many, max_new_tokens=24),
        **{
            name: sampled(model, sampler=name)
            for name in ("random", "top_k", "top_p", "min_p", "typical")
        },
        "penalties": sampled(model, sampler=Sampler(**GREEDY, **penalties)),
        "n-grams": sampled(model, sampler=Sampler(**GREEDY, no_repeat_ngram_size=2)),
        "processors": sampled(model, logits_processors=processors),
        "jit_compile": model.generate("the cat", max_new_tokens=20, jit_compile=True),
        "stop strings": model.generate(PROMPTS, max_new_tokens=30, stop=["a"]),
        "stream": list(model.stream("the cat", max_new_tokens=20)),
        "prefix": model.generate(
            [" on", " sat"], prefix_cache=cache_prefix(model, "the cat"), max_new_tokens=8
        ),
        "sliding window": model.generate(
            "the cat", max_new_tokens=100, on_overflow="sliding_window"
        ),
        "next tokens": [each.id for each in model.next_tokens("the", k=5)],
        "beam": model.generate(
            PROMPTS, max_new_tokens=10, sampler=BeamSearch(3), num_return_sequences=2
        ),
        "contrastive": model.generate(PROMPTS, max_new_tokens=10, sampler=ContrastiveSearch(3)),
        "speculative": model.generate(
            PROMPTS, max_new_tokens=10, sampler=SpeculativeDecoding(draft, **GREEDY)
        ),
        "speculative samples": model.generate(
            PROMPTS, max_new_tokens=10, seed=4, sampler=SpeculativeDecoding(draft)
        ),
    }


def numbers(model):
    """Log-probabilities, which are equal but for rounding."""
    details = model.generate_details(PROMPTS, max_new_tokens=8)
    return {
        "details": [each.log_probs for each in details],
        "score": [each.log_probs for each in model.score(PROMPTS)],
        "next tokens": [[each.probability for each in model.next_tokens("the", k=5)]],
    }


def while_training(model):
    """The texts of a callback that generates after each batch, and the one after the last."""
    texts = []

    class Generate(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            texts.append(self.model.generate("the", max_new_tokens=8))

    ids = np.array([model.tokenizer.encode("".join(CORPUS))[:60]] * 3)
    model.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    model.fit(ids, batch_size=1, shuffle=False, verbose=0, callbacks=[Generate()])
    return [*texts, model.generate("the", max_new_tokens=8)]


def traced_functions(replace=setattr):
    """Returns a list that gets the names of the decoding loop's functions as they are traced."""
    names = []

    def counted(name):
        function = getattr(decoding_loop, name)

        def run(*arguments, **keywords):
            names.append(name)
            return function(*arguments, **keywords)

        replace(decoding_loop, name, run)

    counted("start")
    counted("advance")
    return names


def main():
    traces = traced_functions()
    model = text_model(context_length=64)
    counts = {}
    # Prompts of 1 to 15 tokens and up to 16 new ones are one bucket; batches are of one size.
    for length in (1, 3, 9, 15):
        prompt = model.tokenizer.decode(model.tokenizer.encode("".join(CORPUS))[:length])
        model.generate(prompt, max_new_tokens=length + 1)
    counts["one bucket"] = sorted(traces)
    traces.clear()
    model.generate(model.tokenizer.decode(list(range(60, 80))), max_new_tokens=16)
    counts["a longer prompt"] = sorted(traces)
    traces.clear()
    model.token_embedding.embeddings.assign(0 * model.token_embedding.embeddings)
    model.generate("the", max_new_tokens=4)
    counts["other weights"] = list(traces)
    model = text_model(context_length=64)
    texts = while_training(text_model(context_length=64, seed=1))
    result = {"training": texts, "exact": exact(model), "numbers": numbers(model), "traces": counts}
    Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
