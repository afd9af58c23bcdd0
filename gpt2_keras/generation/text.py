"""Text in, text out: `model.generate` and `model.stream`."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpt2_keras.generation.batch import (
    check_texts,
    default_max_new_tokens,
    encode_prompts,
    pad,
)
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.pieces import TextPieces
from gpt2_keras.generation.samplers import Sampler, resolve
from gpt2_keras.generation.sampling import SamplingTensors
from gpt2_keras.model import GPT2LM

# How often the host looks for stop strings, in tokens.
STEPS_BETWEEN_LOOKS = 16


def generate(
    model: GPT2LM,
    prompts: str | Sequence[str] = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Sequence[int] | None = None,
    num_samples: int = 1,
    stop: str | Sequence[str] = (),
    crop: bool = False,
    strip_prompt: bool = False,
) -> Any:
    """Continues texts.

    Rows do not touch each other: a prompt in a batch gets the text that it gets
    alone.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several. An empty one asks for a text from its
            start.
        max_new_tokens: Largest number of tokens to add, at least 1. Prompt and
            new tokens together must fit the model's `context_length`. By default
            64, or half the context if that is less.
        sampler: A `Sampler`, or one of `"greedy"`, `"random"`, `"top_k"`,
            `"top_p"`. By default greedy, or a draw if one of the next three is
            given.
        temperature, top_k, top_p: Replace the sampler's numbers.
        seed: Makes a draw repeatable: one integer, from which row i gets `seed +
            i`, or one for each row. By default each call draws anew.
        num_samples: How many texts to make of each prompt.
        stop: String or strings at which a text ends; they are left out. A text
            also ends at `<|endoftext|>`.
        crop: Whether a prompt that is too long loses its beginning. By default
            it is refused.
        strip_prompt: Whether to return the new text alone.

    Returns:
        A `str` for one prompt and one sample; a list of `num_samples` texts for
        one prompt; a list with such an entry for each of several prompts.

    Raises:
        TypeError: If a prompt is not a `str`.
        ValueError: If a number is out of its range or a prompt too long.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=16, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> text = generate(model, "abc", max_new_tokens=4, temperature=1.0, seed=0)
        >>> text.startswith("abc")
        True
    """
    listed = check_texts(prompts)
    _check_at_least_one("num_samples", num_samples)
    chosen = resolve(sampler, temperature=temperature, top_k=top_k, top_p=top_p)
    if num_samples > 1 and chosen.temperature == 0:
        raise ValueError(
            "Several samples of a prompt differ only if tokens are drawn. "
            f"Received: num_samples={num_samples} with a greedy sampler. "
            "Set, for example, temperature=1.0."
        )
    repeated = [prompt for prompt in listed for _ in range(num_samples)]
    texts = ["" if strip_prompt else prompt for prompt in repeated]
    pieces = _run(model, repeated, chosen, max_new_tokens, seed, stop, crop, STEPS_BETWEEN_LOOKS)
    for row_pieces in pieces:
        texts = [text + piece for text, piece in zip(texts, row_pieces, strict=True)]
    if num_samples > 1:
        grouped = [texts[i : i + num_samples] for i in range(0, len(texts), num_samples)]
        return grouped[0] if isinstance(prompts, str) else grouped
    return texts[0] if isinstance(prompts, str) else texts


def stream(
    model: GPT2LM,
    prompt: str = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    crop: bool = False,
) -> Iterator[str]:
    """Continues a text piece by piece, as the tokens come.

    The pieces joined are what `generate` returns with `strip_prompt=True`. No
    piece ends inside a character.

    Args:
        model, max_new_tokens, sampler, temperature, top_k, top_p, seed, stop,
            crop: As for `generate`.
        prompt: The text to continue.

    Returns:
        An iterator of pieces, none empty. Arguments are checked at the call.

    Raises:
        TypeError, ValueError: As for `generate`.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"A prompt must be a str. Received: {type(prompt).__name__}.")
    chosen = resolve(sampler, temperature=temperature, top_k=top_k, top_p=top_p)
    pieces = _run(model, [prompt], chosen, max_new_tokens, seed, stop, crop, steps_between=1)
    return (row_pieces[0] for row_pieces in pieces if row_pieces[0])


def _run(
    model: GPT2LM,
    prompts: list[str],
    sampler: Sampler,
    max_new_tokens: int | None,
    seed: int | Sequence[int] | None,
    stop: str | Sequence[str],
    crop: bool,
    steps_between: int,
) -> Iterator[list[str]]:
    """Checks everything now, and returns an iterator of each row's next piece."""
    if max_new_tokens is None:
        max_new_tokens = default_max_new_tokens(model)
    _check_at_least_one("max_new_tokens", max_new_tokens)
    if sampler.top_k > model.config.vocab_size:
        raise ValueError(
            f"`top_k` must be at most vocab_size={model.config.vocab_size}. "
            f"Received: top_k={sampler.top_k}. 0 keeps all tokens."
        )
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(stops):
        raise ValueError(f"A stop string must not be empty. Received: stop={stop!r}.")
    rows = encode_prompts(model, prompts, max_new_tokens=max_new_tokens, crop=crop)
    sampling = _sampling_tensors(sampler, _seeds(seed, len(rows)))
    tokenizer = model.require_tokenizer()
    functions = compiled(model)
    token_ids, num_tokens = pad(rows, tokenizer.end_token_id, side="left")
    assemblers = [TextPieces(tokenizer, stops) for _ in rows]

    def pieces() -> Iterator[list[str]]:
        cache_length = np.int32(token_ids.shape[1] + max_new_tokens)
        state = functions.start(token_ids, num_tokens, sampling, cache_length)
        new_ids = state.last_ids[:, None]  # (batch, steps)
        while True:
            yield [
                _feed(row, ids, tokenizer.end_token_id)
                for row, ids in zip(assemblers, new_ids.numpy().tolist(), strict=True)
            ]
            left = max_new_tokens - int(state.step)
            if left == 0 or all(row.stopped for row in assemblers):
                break
            # A row that met a stop string is finished for the loop as well.
            state = state._replace(finished=np.array([row.stopped for row in assemblers]))
            steps = min(left, steps_between) if stops or steps_between == 1 else left
            new_ids, state = functions.advance(state, sampling, np.int32(steps))
        yield [row.finish() for row in assemblers]

    return pieces()


def _feed(row: TextPieces, token_ids: list[int], end_token_id: int) -> str:
    """Feeds a row its tokens up to the end token, which finishes it."""
    if end_token_id not in token_ids:
        return row.feed(token_ids)
    return row.feed(token_ids[: token_ids.index(end_token_id)]) + row.finish()


def _seeds(seed: int | Sequence[int] | None, count: int) -> np.ndarray:
    """Returns a seed for each row, as the int32 with the low 32 bits of each."""
    if seed is None:
        seed = secrets.randbits(32)
    seeds = [seed + row for row in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise ValueError(
            "There must be one seed, or one for each row. "
            f"Received: {len(seeds)} seeds for {count} rows."
        )
    return np.array([value & 0xFFFFFFFF for value in seeds], "uint32").view("int32")


def _sampling_tensors(sampler: Sampler, seeds: np.ndarray) -> SamplingTensors:
    """Returns the sampler's numbers for each row."""
    return SamplingTensors(
        temperature=np.full(len(seeds), sampler.temperature, "float32"),
        top_k=np.full(len(seeds), sampler.top_k, "int32"),
        top_p=np.full(len(seeds), sampler.top_p, "float32"),
        seed=seeds,
    )


def _check_at_least_one(name: str, value: int) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}.")
