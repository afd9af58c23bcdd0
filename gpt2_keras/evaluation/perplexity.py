"""Perplexity of texts of any length, in sliding windows."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gpt2_keras.data.given_texts import Text, documents_of, named_texts
from gpt2_keras.evaluation.detokenizers import check_detokenizer, detokenize
from gpt2_keras.evaluation.report import Protocol, Report, TextResult
from gpt2_keras.generation.spans import Span, check_batch_size, score_spans
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_integer


def evaluate(
    model: GPT2Model,
    texts: Text | Sequence[Text],
    *,
    stride: int | None = None,
    batch_size: int | None = None,
    detokenizer: str = "none",
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Measures how well a model predicts texts, in sliding windows.

    The model reads each text in windows of `context_length` tokens, the first of which
    begins with `<|endoftext|>`. Each window begins `stride` tokens after the previous
    one and scores the tokens that no earlier window has scored. So every token is
    scored exactly once, with at least `context_length - stride + 1` tokens before it
    once the text has that many. Source: "Perplexity of
    fixed-length models", Hugging Face's transformers documentation.

    Args:
        model: A model with a tokenizer.
        texts: A `str` is a text, a `Path` a UTF-8 file, which may be compressed.
            Each is a document of its own, and so is each row of a JSONL, CSV or
            Parquet file.
        stride: Tokens from one window to the next, from 1 to `context_length`.
            A smaller stride takes longer and gives each token more context. By
            default half the context.
        batch_size: Windows in a batch, which changes results by rounding only. By
            default as many as keep the logits under 256 MB, at most 32.
        detokenizer: `"none"` or `"wikitext"`, see `detokenize`.
        on_progress: Called with the number of tokens scored and of all.

    Returns:
        A `Report`: for each text perplexity per token and per word, bits per byte,
        and top-1 and top-5 accuracy.

    Raises:
        TypeError: If a text is neither a `str` nor a path, or an argument is of the
            wrong type.
        ValueError: If a text has fewer than two tokens or is not UTF-8, or an
            argument is out of its range.
        FileNotFoundError: If a file does not exist.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=16, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> report = evaluate(model, "a text of any length", stride=4)
        >>> report.total.num_tokens, report.total.num_words
        (20, 5)
    """
    tokenizer = model.require_tokenizer()
    context = model.config.context_length
    stride = max(1, context // 2) if stride is None else stride
    advice = "The greatest is the context length."
    stride = check_integer("stride", stride, minimum=1, maximum=context, advice=advice)
    check_batch_size(batch_size)
    check_detokenizer(detokenizer)
    named = [(name, documents_of(text)) for name, text in named_texts(texts)]
    spans: list[Span] = []
    ends = []
    for name, documents in named:
        rows = tokenizer.encode([detokenize(document, detokenizer) for document in documents])
        if sum(map(len, rows)) < 2:
            raise ValueError(
                f"{name} has {sum(map(len, rows))} tokens, fewer than two. "
                "Use a longer text, or leave it out."
            )
        for row in rows:
            spans += windows([tokenizer.end_token_id, *row], context, stride)
        ends.append(len(spans))
    scores = score_spans(model, spans, batch_size=batch_size, on_progress=on_progress)
    results = []
    for (name, documents), start, end in zip(named, [0, *ends], ends, strict=False):
        log_probs = np.concatenate([score.log_probs for score in scores[start:end]])
        ranks = np.concatenate([score.ranks for score in scores[start:end]])
        results.append(
            TextResult(
                name=name,
                num_tokens=len(log_probs),
                num_words=sum(len(document.split()) for document in documents),
                num_lines=sum(document.count("\n") for document in documents),
                num_bytes=sum(len(document.encode("utf-8", "replace")) for document in documents),
                log_prob=math.fsum(log_probs),
                standard_error=_standard_error(log_probs.astype("float64"), context),
                num_top_1=int((ranks < 1).sum()),
                num_top_5=int((ranks < 5).sum()),
            )
        )
    start_token = tokenizer.decode([tokenizer.end_token_id])
    protocol = Protocol(context, stride, detokenizer, start_token, model.dtype_policy.name)
    return Report(protocol, tuple(results))


def windows(
    token_ids: Sequence[int], context_length: int, stride: int, *, full_last_window: bool = False
) -> Iterator[Span]:
    """Splits a text into the windows that `evaluate` describes.

    Args:
        token_ids: The start token and the text; at least two tokens.
        context_length: Largest number of inputs of a window.
        stride: Tokens from the beginning of a window to that of the next.
        full_last_window: Whether the last window begins earlier, to read as many tokens as the
            others.

    Returns:
        The windows. Their targets, concatenated, are `token_ids[1:]`.

    Example:
        >>> for span in windows(range(8), context_length=4, stride=2):
        ...     print(span.inputs.tolist(), span.targets.tolist())
        [0, 1, 2, 3] [1, 2, 3, 4]
        [2, 3, 4, 5] [5, 6]
        [4, 5, 6] [7]
    """
    ids = np.asarray(token_ids, "int32")
    scored = 1
    for begin in range(0, len(ids) - 1, stride):
        end = min(begin + context_length, len(ids) - 1)
        if full_last_window:
            begin = max(0, end - context_length)
        yield Span(ids[begin:end], ids[scored : end + 1])
        scored = end + 1
        if scored == len(ids):
            return


def _standard_error(log_probs: np.ndarray, block: int) -> float:
    """Returns the standard error of the mean, from the differences between blocks of tokens."""
    sums = np.add.reduceat(log_probs, np.arange(0, len(log_probs), block))  # (blocks,)
    if len(sums) < 2:
        return math.nan
    sizes = np.full(len(sums), block)
    sizes[-1] = len(log_probs) - block * (len(sums) - 1)
    errors = sums - log_probs.mean() * sizes
    variance = (errors**2).sum() * len(sums) / (len(sums) - 1)
    return float(math.sqrt(variance) / len(log_probs))
