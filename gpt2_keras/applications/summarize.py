"""Summaries, as in section 3.6 of the GPT-2 paper."""

from collections.abc import Sequence
from typing import Any

from gpt2_keras.applications.text_task import Field, Literal, TextTask, run_task, token_limit
from gpt2_keras.generation import Sampler
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer, check_text, check_texts

# "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019), section 3.6: the
# text TL;DR: after the article, 100 tokens by top-k sampling with k = 2, the first three sentences.
# On a line of its own: https://github.com/openai/gpt-2/issues/33
HINT = "TL;DR:"
MAX_NEW_TOKENS, TOP_K, NUM_SENTENCES = 100, 2, 3


def summary_task(
    model: GPT2Model,
    *,
    hint: str = HINT,
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
    num_sentences: int = NUM_SENTENCES,
) -> TextTask:
    """Returns the task of `summarize`, for `export` and `run_task`."""
    check_text("hint", hint)
    check_integer("num_sentences", num_sentences, minimum=0, advice="0 keeps all.")
    return TextTask(
        "summarize",
        (Field("text", crop="end"), Literal(hint, separator="\n")),
        sampler or Sampler(top_k=min(TOP_K, model.config.vocab_size)),
        token_limit(model, max_new_tokens, MAX_NEW_TOKENS),
        num_sentences=num_sentences,
    )


def summarize(
    model: GPT2Model,
    text: str | Sequence[str],
    *,
    hint: str = HINT,
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
    num_sentences: int = NUM_SENTENCES,
    seed: int | Sequence[int] | None = None,
) -> Any:
    """Summarizes texts.

    The model reads the text and a hint, and continues. A text too long for the context loses
    its end, never the hint. The published model is poor at it: in the paper its summaries are
    hardly better than three random sentences of the article.

    Args:
        model: A model with a tokenizer. One trained with `train --task summarize` ends its
            summaries itself: use `num_sentences=0`.
        text: One text, or several.
        hint: What stands after the text, in a line of its own.
        max_new_tokens: Largest number of tokens of the summary; by default 100, but at most half
            the context.
        sampler: By default `Sampler(top_k=2)`.
        num_sentences: Number of sentences that are kept, the first ones; 0 for all.
        seed: Makes sampling repeatable, as for `generate`.

    Returns:
        A `TaskOutput`: the summary, with its prompt, what was cropped and its log-probability; a
        list of them for several texts.

    Raises:
        TypeError, ValueError: If a text is no `str` or empty, or another argument is wrong.

    Source: Radford et al. (2019), section 3.6.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=32, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> summarize(model, "a b c", max_new_tokens=4, seed=1).prompt
        'a b c\\nTL;DR:'
    """
    task = summary_task(
        model,
        hint=hint,
        max_new_tokens=max_new_tokens,
        sampler=sampler,
        num_sentences=num_sentences,
    )
    found = run_task(model, task, [{"text": each} for each in check_texts("text", text)], seed=seed)
    return found[0] if isinstance(text, str) else found
