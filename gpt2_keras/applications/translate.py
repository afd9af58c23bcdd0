"""Translations by example, as in section 3.7 of the GPT-2 paper."""

from collections.abc import Sequence
from typing import Any

from gpt2_keras.applications.text_task import Field, Literal, TextTask, run_task, token_limit
from gpt2_keras.generation import Sampler
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer, check_list, check_text, check_texts

# Radford et al. (2019), section 3.7: pairs `english sentence = french sentence`, then the sentence
# and ` =`, greedily, the first sentence generated.
MAX_NEW_TOKENS, NUM_SENTENCES = 64, 1
Pairs = Sequence[tuple[str, str]]


def translation_task(
    model: GPT2Model,
    *,
    examples: Pairs = (),
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
    num_sentences: int = NUM_SENTENCES,
) -> TextTask:
    """Returns the task of `translate`, for `export` and `run_task`."""
    check_integer("num_sentences", num_sentences, minimum=0, advice="0 keeps all.")
    lines = [f"{source} = {target}\n" for source, target in check_pairs("examples", examples)]
    parts: list[Literal | Field] = [Literal("".join(lines))] if lines else []
    return TextTask(
        "translate",
        (*parts, Field("text", crop="end"), Literal(" =")),
        sampler or Sampler(temperature=0.0),
        token_limit(model, max_new_tokens, MAX_NEW_TOKENS),
        stop=("\n",),
        num_sentences=num_sentences,
    )


def translate(
    model: GPT2Model,
    text: str | Sequence[str],
    *,
    examples: Pairs = (),
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
    num_sentences: int = NUM_SENTENCES,
    seed: int | Sequence[int] | None = None,
) -> Any:
    """Translates sentences, by examples of the translation.

    The model reads the examples, one in a line as `source = target`, and the text with ` =`
    after it. The published model translates hardly: in the paper it has 5 BLEU from English to
    French, and 11.5 back.

    Args:
        model: A model with a tokenizer. One trained with `train --task translate` needs no
            examples, and ends its translations itself: use `num_sentences=0`.
        text: One text, or several. One too long for the context loses its end.
        examples: Pairs of a text and its translation, which say what to translate to what.
        max_new_tokens: Largest number of tokens of the translation; by default 64, but at most
            half the context.
        sampler: By default greedy.
        num_sentences: Number of sentences that are kept, the first ones; 0 for all.
        seed: Makes sampling repeatable, as for `generate`.

    Returns:
        A `TaskOutput`: the translation, with its prompt, what was cropped and its
        log-probability; a list of them for several texts.

    Raises:
        TypeError, ValueError: If a text is no `str` or empty, the examples do not fit, or another
            argument is wrong.

    Source: Radford et al. (2019), section 3.7.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=48, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> translate(model, "dog", examples=[("cat", "chat")], max_new_tokens=4).prompt
        'cat = chat\\ndog ='
    """
    task = translation_task(
        model,
        examples=examples,
        max_new_tokens=max_new_tokens,
        sampler=sampler,
        num_sentences=num_sentences,
    )
    found = run_task(model, task, [{"text": each} for each in check_texts("text", text)], seed=seed)
    return found[0] if isinstance(text, str) else found


def check_pairs(name: str, pairs: object) -> list[tuple[str, str]]:
    """Returns pairs of texts as a list, each in one line.

    Raises:
        TypeError: If it is no list of pairs of `str`.
        ValueError: If a text is empty.
    """
    rule = "a list of pairs of texts"
    found = []
    for index, pair in enumerate(check_list(name, pairs, rule)):
        both = tuple(check_list(f"{name}[{index}]", pair, "a pair of texts"))
        texts = [" ".join(check_text(f"{name}[{index}]", each).split()) for each in both]
        if len(texts) != 2 or not all(texts):
            raise ValueError(
                f"{name}[{index}]={both!r:.80} is no pair of texts, neither of them empty. "
                'Use, for example, ("cat", "chat").'
            )
        found.append((texts[0], texts[1]))
    return found
