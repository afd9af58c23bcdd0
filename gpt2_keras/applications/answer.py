"""Answers to questions, about a document or without one: sections 3.5 and 3.8 of the paper."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from gpt2_keras.applications.text_task import Field, Literal, TextTask, run_task, token_limit
from gpt2_keras.applications.translate import Pairs, check_pairs
from gpt2_keras.generation import Sampler
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_text, check_texts

# Radford et al. (2019), section 3.5: the document, the history of the conversation and the token
# `A:`, greedily. Section 3.8: seeded with example pairs of question and answer.
MAX_NEW_TOKENS = 32
QUESTION, ANSWER = "Q:", "A:"


def answer_task(
    model: GPT2Model,
    *,
    history: Pairs = (),
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
) -> TextTask:
    """Returns the task of `answer`, for `export` and `run_task`; its fields: document, question."""
    pairs = check_pairs("history", history)
    asked = "".join(f"{QUESTION} {q}\n{ANSWER} {a}\n" for q, a in pairs)
    return TextTask(
        "answer",
        (
            Field("document", crop="end", required=False),
            Literal(f"{asked}{QUESTION}", separator="\n\n"),
            Field("question", before=" "),
            Literal(f"\n{ANSWER}"),
        ),
        sampler or Sampler(temperature=0.0),
        token_limit(model, max_new_tokens, MAX_NEW_TOKENS),
        stop=("\n",),
    )


def answer(
    model: GPT2Model,
    question: str | Sequence[str],
    *,
    document: str = "",
    history: Pairs = (),
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] | None = None,
) -> Any:
    """Answers questions, about a document or from what the model has learned.

    The model reads the document, earlier questions with their answers, the question, and `A:`.
    Where that is too long, the oldest earlier questions are left out until those kept fill at
    most half of the room; then the document loses its end. In the paper the largest model has
    55 F1 on CoQA; without a document the smallest one answers 1 % of Natural Questions.

    Args:
        model: A model with a tokenizer, or one trained with `train --task answer`.
        question: One question, or several about the same document.
        document: The text that the question is about; by default none.
        history: Earlier pairs of question and answer, the oldest first; or examples.
        max_new_tokens: Largest number of tokens of the answer; by default 32, but at most half
            the context.
        sampler: By default greedy.
        seed: Makes sampling repeatable, as for `generate`.

    Returns:
        A `TaskOutput`: the answer, with its prompt, what was cropped and its log-probability; a
        list of them for several questions.

    Raises:
        TypeError, ValueError: If a text is no `str`, a question is empty or too long, or another
            argument is wrong.

    Source: Radford et al. (2019), sections 3.5 and 3.8.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=64, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> answer(model, "Who sat?", document="A cat sat.", max_new_tokens=4).prompt
        'A cat sat.\\n\\nQ: Who sat?\\nA:'
    """
    questions, kept = check_texts("question", question), check_pairs("history", history)
    check_text("document", document)
    limit = token_limit(model, max_new_tokens, MAX_NEW_TOKENS)
    dropped, longest = "", max(questions, key=len)
    while kept and _size(model, kept, longest) > (model.config.context_length - limit) // 2:
        (asked, answered), *kept = kept
        dropped += f"{QUESTION} {asked}\n{ANSWER} {answered}\n"
    task = answer_task(model, history=kept, max_new_tokens=limit, sampler=sampler)
    rows = [{"document": document, "question": each} for each in questions]
    found = [
        dataclasses.replace(each, cropped=dropped + each.cropped)
        for each in run_task(model, task, rows, seed=seed)
    ]
    return found[0] if isinstance(question, str) else found


def _size(model: GPT2Model, pairs: Pairs, question: str) -> int:
    """Returns the number of tokens of earlier questions and the next one."""
    task = answer_task(model, history=pairs, max_new_tokens=1)
    texts = [part.text for part in task.parts if isinstance(part, Literal)]
    tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
    return sum(map(len, tokenizer.encode([*texts, f" {question}"])))
