"""Text in, text out: `model.generate` and `model.stream`."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from gpt2_keras.generation.logits_processors import Rules
from gpt2_keras.generation.prefix_cache import PrefixCache
from gpt2_keras.generation.prompts import check_texts
from gpt2_keras.generation.sampling import Sampler, resolve
from gpt2_keras.generation.search.beam_search import BeamSearch, generate_beams
from gpt2_keras.generation.search.contrastive_search import Contrastive, generate_contrastive
from gpt2_keras.generation.search.speculative_decoding import Speculative, generate_speculative
from gpt2_keras.generation.session import Generation, Run, check_at_least_one, make_seeds
from gpt2_keras.model import GPT2Model

Search = BeamSearch | Contrastive | Speculative
# KerasHub's strings for these samplers, with our defaults.
NAMED_SEARCHES: dict[str, Search] = {"beam": BeamSearch(), "contrastive": Contrastive()}


def refuse_arguments(search: Search, **arguments: Any) -> None:
    """Raises ValueError for arguments of `generate` that a search has no use for.

    Args:
        search: The search.
        **arguments: What the caller gave; None, False and empty stand for nothing.
    """
    given = [name for name, value in arguments.items() if value]
    if given:
        raise ValueError(
            f"{type(search).__name__} has its own settings and cannot take these arguments. "
            f"Received: {', '.join(given)}. Leave them out, or use a Sampler."
        )


def generate_by_search(
    model: GPT2Model,
    prompts: str | Sequence[str],
    search: Search,
    *,
    max_new_tokens: int | None,
    seed: int | Sequence[int] | None,
    overflow: str,
    strip_prompt: bool,
    return_details: bool,
) -> Any:
    """Continues texts by a search; see `text.generate` for the arguments.

    Returns:
        A text for each prompt, or one for a single `str`. Of a `BeamSearch` with
        several results, a list of them in place of a text; with
        `return_details`, `Beam`s with their scores.
    """
    common: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "overflow": overflow,
        "strip_prompt": strip_prompt,
    }
    listed = [prompts] if isinstance(prompts, str) else list(prompts)
    results: list[Any]
    if isinstance(search, BeamSearch):
        refuse_arguments(search, seed=seed is not None)
        found = generate_beams(model, listed, search, **common)
        results = [beams if return_details else [beam.text for beam in beams] for beams in found]
        if search.num_results == 1:
            results = [row[0] for row in results]
    elif isinstance(search, Contrastive):
        refuse_arguments(search, seed=seed is not None, return_details=return_details)
        results = list(generate_contrastive(model, listed, search, **common))
    else:
        refuse_arguments(search, return_details=return_details)
        seeds = make_seeds(seed, len(listed))
        results = list(generate_speculative(model, listed, search, seeds=seeds, **common))
    return results[0] if isinstance(prompts, str) else results


def generate(
    model: GPT2Model,
    prompts: str | Sequence[str] = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | Search | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Sequence[int] | None = None,
    num_samples: int = 1,
    best_of: int = 1,
    stop: str | Sequence[str] = (),
    rules: Rules | None = None,
    prefix: PrefixCache | None = None,
    overflow: str = "refuse",
    strip_prompt: bool = False,
    return_details: bool = False,
) -> Any:
    """Continues texts.

    Rows do not touch each other: a prompt in a batch gets the text that it gets
    alone.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several. An empty one asks for a text from its
            start.
        max_new_tokens: Largest number of tokens to add, at least 1. By default
            64, or half the context if that is less.
        sampler: A `Sampler`, or the name of one: `"greedy"`, `"random"`,
            `"top_k"`, `"top_p"`, `"min_p"`, `"typical"`, `"beam"`,
            `"contrastive"`; or a `BeamSearch`, `Contrastive` or `Speculative`.
            By default greedy, or a draw if one of the next three is given.
        temperature, top_k, top_p: Replace the sampler's numbers.
        seed: Makes a draw repeatable: one integer, from which row i gets `seed +
            i`, or one for each row. By default each call draws anew.
        num_samples: How many texts to make of each prompt.
        best_of: How many texts to draw for each that is returned: the one with
            the highest mean log-probability.
        stop: String or strings at which a text ends; they are left out. A text
            also ends at `<|endoftext|>`.
        rules: More rules, see `Rules`.
        prefix: What stands before every prompt, of `cache_prefix`.
        overflow: What to do with a text that outgrows the context: `"refuse"`
            it; `"crop"` the prompt's beginning; or `"slide"`: whenever the
            context is full, read its last half anew and go on.
        strip_prompt: Whether to return the new text alone.
        return_details: Whether to return `Generation`s and not texts.

    Returns:
        A `str` for one prompt and one sample; a list of `num_samples` texts for
        one prompt; a list with such an entry for each of several prompts. With
        `return_details`, `Generation`s in place of texts. A search returns what
        `search.generate_by_search` says.

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
    search: Sampler | Search | str | None = sampler
    if isinstance(sampler, str) and sampler in NAMED_SEARCHES:
        search = NAMED_SEARCHES[sampler]
    if isinstance(search, Search):
        numbers = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        refuse_arguments(
            search,
            **{name: value is not None for name, value in numbers.items()},
            num_samples=num_samples != 1,
            best_of=best_of != 1,
            stop=stop,
            rules=rules,
            prefix=prefix,
            overflow=overflow == "slide",
        )
        return generate_by_search(
            model,
            prompts,
            search,
            max_new_tokens=max_new_tokens,
            seed=seed,
            overflow=overflow,
            strip_prompt=strip_prompt,
            return_details=return_details,
        )
    check_at_least_one("num_samples", num_samples)
    check_at_least_one("best_of", best_of)
    chosen = resolve(search, temperature=temperature, top_k=top_k, top_p=top_p)
    draws = num_samples * best_of
    if draws > 1 and chosen.temperature == 0:
        raise ValueError(
            "Several samples of a prompt differ only if tokens are drawn. "
            f"Received: num_samples={num_samples}, best_of={best_of} with a greedy sampler. "
            "Set, for example, temperature=1.0."
        )
    run = Run(
        model,
        [prompt for prompt in listed for _ in range(draws)],
        chosen,
        max_new_tokens=max_new_tokens,
        seed=seed,
        rules=_with_stop(rules, stop),
        prefix=prefix,
        overflow=overflow,
    )
    for _ in run.pieces():
        pass
    drawn = [row.result() for row in run.rows]
    best = [_likeliest(drawn[i : i + best_of]) for i in range(0, len(drawn), best_of)]
    results: list[Any] = best if return_details else [_text(g, prefix, strip_prompt) for g in best]
    grouped = [results[i : i + num_samples] for i in range(0, len(results), num_samples)]
    shaped = [group[0] for group in grouped] if num_samples == 1 else grouped
    return shaped[0] if isinstance(prompts, str) else shaped


def stream(
    model: GPT2Model,
    prompt: str = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    rules: Rules | None = None,
    prefix: PrefixCache | None = None,
    overflow: str = "refuse",
) -> Iterator[str]:
    """Continues a text piece by piece, as the tokens come.

    The pieces joined are what `generate` returns with `strip_prompt=True`. No
    piece ends inside a character.

    Args:
        model, max_new_tokens, sampler, temperature, top_k, top_p, seed, stop,
            rules, prefix, overflow: As for `generate`.
        prompt: The text to continue.

    Returns:
        An iterator of pieces, none empty. Arguments are checked at the call.

    Raises:
        TypeError, ValueError: As for `generate`.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"A prompt must be a str. Received: {type(prompt).__name__}.")
    run = Run(
        model,
        [prompt],
        resolve(sampler, temperature=temperature, top_k=top_k, top_p=top_p),
        max_new_tokens=max_new_tokens,
        seed=seed,
        rules=_with_stop(rules, stop),
        prefix=prefix,
        overflow=overflow,
        steps_between=1,
    )
    return (pieces[0] for pieces in run.pieces() if pieces[0])


def _with_stop(rules: Rules | None, stop: str | Sequence[str]) -> Rules:
    """Returns the rules with the stop strings of both arguments."""
    extra = Rules(stop=stop)
    return extra if rules is None else dataclasses.replace(rules, stop=(*rules.stop, *extra.stop))


def _likeliest(drawn: Sequence[Generation]) -> Generation:
    """Returns the generation whose tokens the model finds likeliest, on average."""
    return max(drawn, key=lambda generation: generation.mean_log_prob)


def _text(generation: Generation, prefix: PrefixCache | None, strip_prompt: bool) -> str:
    if strip_prompt:
        return generation.text
    return ("" if prefix is None else prefix.text) + generation.prompt + generation.text
