"""Text in, text out: `generate`, `generate_details` and `stream`."""

from collections.abc import Iterator, Sequence
from typing import Any

from gpt2_keras.generation.logits_processors import LogitsProcessors
from gpt2_keras.generation.prefix_cache import PrefixCache
from gpt2_keras.generation.prompts import EncodedPrompt, Prompt, check_prompts
from gpt2_keras.generation.sampler import Sampler
from gpt2_keras.generation.search.choice import Search, choose_sampler
from gpt2_keras.generation.search.results import search_texts
from gpt2_keras.generation.search.speculative_decoding import SpeculativeDecoding
from gpt2_keras.generation.session import Generation, GenerationSession
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import check_flag, check_integer, check_text


def generate(
    model: GPT2Model,
    prompts: Prompt | Sequence[Prompt] = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | Search | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Sequence[int] | None = None,
    num_return_sequences: int = 1,
    best_of: int = 1,
    stop: str | Sequence[str] = (),
    stop_token_ids: Sequence[int] = (),
    logits_processors: LogitsProcessors | None = None,
    prefix_cache: PrefixCache | None = None,
    on_overflow: str = "error",
    special_tokens: SpecialTokens | None = None,
    jit_compile: bool = False,
    strip_prompt: bool = False,
) -> Any:
    """Continues texts.

    Rows are independent: a prompt in a batch gets the text that it gets alone.

    Args:
        model: A model with a tokenizer.
        prompts: One text, or several. An empty one is for a text from its start. An
            `EncodedPrompt` has the tokens of the caller's choice.
        max_new_tokens: Largest number of new tokens, at least 1. By default 64, or the
            generation config's, but at most half the context.
        sampler: A `Sampler`, or the name of one: `"greedy"`, `"random"`, `"top_k"`,
            `"top_p"`, `"min_p"`, `"typical"`, `"beam"`, `"contrastive"`; or a `BeamSearch`,
            `ContrastiveSearch` or `SpeculativeDecoding`. By default the one of
            `model.generation_config`: greedy unless the checkpoint says otherwise; or random
            sampling if one of the next three is given.
        temperature, top_k, top_p: Replace the sampler's numbers.
        seed: Makes sampling repeatable: one integer, from which row i gets `seed + i`, or one
            for each row. By default each call samples other texts.
        num_return_sequences: Number of texts of each prompt.
        best_of: Number of texts to sample for each that is returned: the one with the highest
            mean log-probability.
        stop: String or strings at which a text ends; they are left out.
        stop_token_ids: Token ids at which a text ends, as it does at those of
            `model.end_token_ids`; they are left out.
        logits_processors: Bans, biases and forced tokens, see `LogitsProcessors`; by default
            those of `model.generation_config`.
        prefix_cache: The prefix of every prompt, of `cache_prefix`.
        on_overflow: What to do with a text that outgrows the context: `"error"`;
            `"truncate"` the beginning of the prompt; or `"sliding_window"`: whenever the
            context is full, go on with its last half.
        special_tokens: The special tokens in the prompt, the bad words and the forced prefix
            that become their ids, see `GPT2Tokenizer.with_special_tokens_policy`; by default
            the tokenizer's policy. `"none"` is right for text from outside.
        jit_compile: Whether XLA compiles the loop, for TensorFlow; not of a search. On a CPU one
            text at a time is then generated faster, several are not. Each first call of a
            batch size and of a bucket of lengths, 16, 32, 64 and so on, compiles for seconds.
            On JAX XLA compiles every loop.
        strip_prompt: Whether to return the new text alone.

    Returns:
        A `str` for one prompt; a list of them for several. With more than one
        `num_return_sequences` a list of texts in place of each text, best first of a beam
        search.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of its range, a prompt is too long, or a search does
            not take an argument; the error says which do.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=16, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> text = generate(model, "abc", max_new_tokens=4, temperature=1.0, seed=0)
        >>> text.startswith("abc")
        True
    """
    check_flag("strip_prompt", strip_prompt)
    groups = _generate(
        model,
        prompts,
        with_log_probs=False,
        max_new_tokens=max_new_tokens,
        sampler=sampler,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        num_return_sequences=num_return_sequences,
        best_of=best_of,
        stop=stop,
        stop_token_ids=stop_token_ids,
        logits_processors=logits_processors,
        prefix_cache=prefix_cache,
        on_overflow=on_overflow,
        special_tokens=special_tokens,
        jit_compile=jit_compile,
    )
    prefix = "" if prefix_cache is None else prefix_cache.text
    texts = [
        [("" if strip_prompt else prefix + each.prompt) + each.text for each in group]
        for group in groups
    ]
    return _shaped(texts, prompts, num_return_sequences)


def generate_details(
    model: GPT2Model, prompts: Prompt | Sequence[Prompt] = "", **arguments: Any
) -> Any:
    """Continues texts, and returns tokens, log-probabilities and finish reasons with them.

    Args:
        model, prompts: As for `generate`.
        **arguments: As for `generate`, without `strip_prompt`.

    Returns:
        `Generation`s in place of the texts that `generate` returns.

    Raises:
        TypeError, ValueError: As for `generate`.
    """
    groups = _generate(model, prompts, with_log_probs=True, **arguments)
    return _shaped(groups, prompts, arguments.get("num_return_sequences", 1))


def _generate(
    model: GPT2Model,
    prompts: Prompt | Sequence[Prompt],
    *,
    with_log_probs: bool,
    max_new_tokens: int | None = None,
    sampler: Sampler | Search | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Sequence[int] | None = None,
    num_return_sequences: int = 1,
    best_of: int = 1,
    **settings: Any,
) -> list[list[Generation]]:
    """Returns `num_return_sequences` generations of each prompt; see `generate`."""
    listed = check_prompts(prompts)
    check_integer("num_return_sequences", num_return_sequences, minimum=1)
    check_integer("best_of", best_of, minimum=1)
    numbers = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    chosen = choose_sampler(model, sampler, **numbers)
    if isinstance(chosen, Search):
        _check_search_arguments(
            chosen, best_of=best_of != 1, **_given(numbers), **settings, seed=seed
        )
        return search_texts(
            model,
            listed,
            chosen,
            max_new_tokens=max_new_tokens,
            seed=seed,
            num_return_sequences=num_return_sequences,
            on_overflow=settings.get("on_overflow", "error"),
            special_tokens=settings.get("special_tokens"),
            with_log_probs=with_log_probs,
        )
    samples = num_return_sequences * best_of
    if samples > 1 and chosen.temperature == 0:
        raise ValueError(
            f"num_return_sequences={num_return_sequences} and best_of={best_of} ask for several "
            "texts of a greedy sampler, which gives one. Set, for example, temperature=1.0."
        )
    rows = [prompt for prompt in listed for _ in range(samples)]
    defaults: dict[str, Any] = {
        "stop": (),
        "stop_token_ids": (),
        "logits_processors": None,
        "prefix_cache": None,
        "on_overflow": "error",
        "special_tokens": None,
        "jit_compile": False,
    }
    session = GenerationSession(
        model, rows, chosen, max_new_tokens=max_new_tokens, seed=seed, **{**defaults, **settings}
    )
    for _ in session.deltas():
        pass
    found = [row.result() for row in session.rows]
    best = [
        max(found[i : i + best_of], key=lambda each: each.mean_log_prob)
        for i in range(0, len(found), best_of)
    ]
    count = num_return_sequences
    return [best[i : i + count] for i in range(0, len(best), count)]


def stream(
    model: GPT2Model,
    prompt: Prompt = "",
    *,
    max_new_tokens: int | None = None,
    sampler: Sampler | str | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: str | Sequence[str] = (),
    stop_token_ids: Sequence[int] = (),
    logits_processors: LogitsProcessors | None = None,
    prefix_cache: PrefixCache | None = None,
    on_overflow: str = "error",
    special_tokens: SpecialTokens | None = None,
    jit_compile: bool = False,
) -> Iterator[str]:
    """Continues a text, yielding text deltas as the tokens come.

    The text deltas joined are what `generate` returns with `strip_prompt=True`. None ends
    inside a character.

    Args:
        model, max_new_tokens, temperature, top_k, top_p, seed, stop, stop_token_ids,
            logits_processors, prefix_cache, on_overflow, special_tokens, jit_compile: As for
            `generate`.
        prompt: The text to continue.
        sampler: A `Sampler` or the name of one. A search knows its text at its end only, and
            cannot be streamed.

    Returns:
        An iterator of text deltas, none empty. Arguments are checked at the call.

    Raises:
        TypeError, ValueError: As for `generate`, and if the sampler is a search.
    """
    if not isinstance(prompt, EncodedPrompt):
        check_text("prompt", prompt, advice="`generate` takes several texts.")
    numbers = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    chosen = choose_sampler(model, sampler, **numbers)
    if isinstance(chosen, Search):
        raise ValueError(
            f"sampler={type(chosen).__name__} cannot be streamed: its text is known at its end "
            "only. Use a Sampler, or `generate`."
        )
    session = GenerationSession(
        model,
        [prompt],
        chosen,
        max_new_tokens=max_new_tokens,
        seed=seed,
        stop=stop,
        stop_token_ids=stop_token_ids,
        logits_processors=logits_processors,
        prefix_cache=prefix_cache,
        on_overflow=on_overflow,
        special_tokens=special_tokens,
        jit_compile=jit_compile,
        steps_between_checks=1,
    )
    return (deltas[0] for deltas in session.deltas() if deltas[0])


def _given(numbers: dict[str, Any]) -> dict[str, bool]:
    return {name: value is not None for name, value in numbers.items()}


def _check_search_arguments(search: Search, **arguments: Any) -> None:
    """Raises ValueError for arguments that a search does not take."""
    if isinstance(search, SpeculativeDecoding):
        del arguments["seed"]
    else:
        arguments["seed"] = arguments["seed"] is not None
    overflow = arguments.pop("on_overflow", "error")
    arguments.pop("special_tokens", None)
    arguments["on_overflow='sliding_window'"] = overflow == "sliding_window"
    given = [name for name, value in arguments.items() if value not in (None, False, ())]
    if given:
        raise ValueError(
            f"{', '.join(given)} cannot be combined with sampler={type(search).__name__}, which "
            "has settings of its own. Leave them out, or use a Sampler, which takes all of them."
        )


def _shaped(
    groups: list[list[Any]], prompts: Prompt | Sequence[Prompt], num_return_sequences: int
) -> Any:
    """Returns one result or a list for each prompt, and one entry for a single `str`."""
    shaped = [group[0] if num_return_sequences == 1 else group for group in groups]
    return shaped[0] if isinstance(prompts, str | EncodedPrompt) else shaped
