"""`generate` by the methods that are no single draw a token."""

from collections.abc import Sequence
from typing import Any

from gpt2_keras.generation.beam import BeamSearch, generate_beams
from gpt2_keras.generation.contrastive import Contrastive, generate_contrastive
from gpt2_keras.generation.run import make_seeds
from gpt2_keras.generation.speculative import Speculative, generate_speculative
from gpt2_keras.model import GPT2LM

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
    model: GPT2LM,
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
