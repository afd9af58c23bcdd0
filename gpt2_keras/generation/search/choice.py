"""The sampler or search of a call: named, given, or the model's own."""

from gpt2_keras.generation.defaults import default_sampler
from gpt2_keras.generation.sampler import Sampler, resolve
from gpt2_keras.generation.search.beam_search import BeamSearch
from gpt2_keras.generation.search.contrastive_search import ContrastiveSearch
from gpt2_keras.generation.search.speculative_decoding import SpeculativeDecoding
from gpt2_keras.model import GPT2Model

Search = BeamSearch | ContrastiveSearch | SpeculativeDecoding
# KerasHub's names of these samplers, with our defaults.
NAMED_SEARCHES: dict[str, Search] = {"beam": BeamSearch(), "contrastive": ContrastiveSearch()}


def choose_sampler(
    model: GPT2Model, sampler: Sampler | Search | str | None, **numbers: float | None
) -> Sampler | Search:
    """Returns what a caller's arguments mean.

    Args:
        model: The model, whose generation config counts where no sampler is named.
        sampler: As for `generate`.
        **numbers: Fields of `Sampler` that replace the sampler's, if not None; a search keeps
            its own.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If the name is unknown or a number out of its range.

    Example:
        >>> config = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1,
        ...                     hidden_dim=4)
        >>> choose_sampler(GPT2LM(config), "beam"), choose_sampler(GPT2LM(config), None, top_k=3)
        (BeamSearch(num_beams=5, length_penalty=1.0), Sampler(top_k=3))
    """
    if isinstance(sampler, Search):
        return sampler
    if isinstance(sampler, str) and sampler in NAMED_SEARCHES:
        return NAMED_SEARCHES[sampler]
    if sampler is not None:
        return resolve(sampler, **numbers)
    config = model.generation_config
    num_beams = config.contents.get("num_beams") or 1
    if num_beams > 1 and not config.samples and not any(x is not None for x in numbers.values()):
        length_penalty = config.contents.get("length_penalty")
        return BeamSearch(num_beams, 1.0 if length_penalty is None else length_penalty)
    return default_sampler(model, **numbers)
