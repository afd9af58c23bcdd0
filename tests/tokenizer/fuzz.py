"""Compares the in-graph tokenizer with the reference until stopped.

    python -m tests.tokenizer.fuzz [--seconds N] [--seed N]

Prints the seed of each batch; exits with 1 at the first difference.
"""

import argparse
import re
import sys
import time

import numpy as np
import regex

from gpt2_keras.tokenizer.graph.tokenizer import GraphTokenizer
from gpt2_keras.tokenizer.unicode_classes import LETTER, NUMBER, character_classes
from tests.conftest import DATA
from tests.tokenizer.graph.conftest import in_function
from tests.tokenizer.nasty import random_text, seeded
from tests.tokenizer.reference_bpe import ReferenceTokenizer, read_gpt2, tiktoken_gpt2

BATCH = 2000


def texts_of(seed: int) -> list[bytes]:
    """Returns the texts of a batch: nasty ones, any characters, any bytes, long words."""
    rng = seeded(seed)
    texts = [random_text(rng, broken=i % 2 == 0) for i in range(BATCH)]
    texts += [bytes(rng.choices(range(256), k=rng.randint(0, 20))) for _ in range(BATCH // 4)]
    for _ in range(BATCH // 4):
        top = rng.choice([0x80, 0x800, 0xD800, 0x3400, 0x20000])
        text = "".join(chr(rng.randrange(top)) for _ in range(rng.randint(0, 20)))
        texts.append(text.encode(errors="ignore"))
    for _ in range(BATCH // 40):
        letters = rng.choices(range(256), k=rng.randint(1, 6))
        texts.append(bytes(rng.choices(letters, k=rng.randint(0, 300))))
    return texts


def newer_characters() -> list[int]:
    """Returns the characters with another class in the later Unicode of the reference."""
    is_in = regex.compile(r"[\p{L}\p{N}]").match
    classes = character_classes()
    tabled = np.isin(classes, (LETTER, NUMBER))
    return [c for c in range(0x110000) if bool(is_in(chr(c))) != tabled[c]]


def main(arguments: list[str] | None = None) -> int:
    """Runs the batches; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    options = parser.parse_args(arguments)
    tokens, merges, special_tokens = read_gpt2(DATA / "gpt2")
    tokenize = in_function(GraphTokenizer(tokens, merges, special_tokens))
    reference = ReferenceTokenizer(tokens[:50256], merges)
    openai = tiktoken_gpt2(DATA / "gpt2")
    end, seed, compared = time.monotonic() + options.seconds, options.seed, 0
    newer = re.compile(f"[{''.join(map(chr, newer_characters()))}]")
    while time.monotonic() < end:
        texts = [text for text in texts_of(seed) if not newer.search(text.decode(errors="ignore"))]
        for text, ids in zip(texts, tokenize(texts), strict=True):
            try:
                expected = openai.encode_ordinary(text.decode())
            except UnicodeDecodeError:
                expected = reference.encode(text)
            if ids != expected:
                print(f"seed {seed}: a difference\n{text!r}\n{ids}\n{expected}")
                return 1
        compared += len(texts)
        print(f"seed {seed}: {compared} texts, no difference", flush=True)
        seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
