"""One call of `generate` or `stream`: checked arguments, and the loop driven from the host."""

import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpt2_keras.generation import decoding_loop as loop
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.finish_reason import FinishReason
from gpt2_keras.generation.logits_processors import Rules
from gpt2_keras.generation.prefix_cache import PrefixCache, no_prefix
from gpt2_keras.generation.prompts import default_max_new_tokens, encode_prompts, pad
from gpt2_keras.generation.sampling import Sampler, sampling_tensors
from gpt2_keras.generation.streaming import TextPieces
from gpt2_keras.model import GPT2Model

# How often the host looks for stop strings, in tokens.
STEPS_BETWEEN_LOOKS = 16
# Spreads the seeds of a row's windows; any odd number would do.
WINDOW_SEED_STEP = 0x61C88647


@dataclasses.dataclass(frozen=True)
class Generation:
    """A text that a model has made.

    Args:
        prompt: The text that it continues.
        text: The new text.
        token_ids: Its tokens; those of a stop string, if it ended at one, included.
        log_probs: What the model gave each of them, in nats, before temperature,
            penalties and filters.
        finish_reason: `"end"`: it drew `<|endoftext|>` or another stop id;
            `"stop"`: it met a stop string; `"length"`: it had `max_new_tokens`.
    """

    prompt: str
    text: str
    token_ids: list[int]
    log_probs: list[float]
    finish_reason: FinishReason

    @property
    def mean_log_prob(self) -> float:
        """The mean log-probability of a token, in nats; 0 if there is none."""
        return sum(self.log_probs) / max(1, len(self.log_probs))


class _Row:
    """What one row has so far."""

    def __init__(self, model: GPT2Model, prompt: str, rules: Rules, stop_ids: set[int]) -> None:
        self.prompt, self.text = prompt, ""
        self.token_ids: list[int] = []
        self.log_probs: list[float] = []
        self.finish_reason: FinishReason = "length"
        self._stop_ids = stop_ids
        self._pieces = TextPieces(model.require_tokenizer(), rules.stop)

    @property
    def finished(self) -> bool:
        return self._pieces.stopped

    def feed(self, token_ids: Sequence[int], log_probs: Sequence[float]) -> str:
        """Takes tokens, the first stop id ending the row; returns the text now sure."""
        piece = ""
        for token_id, log_prob in zip(token_ids, log_probs, strict=True):
            if self.finished:
                break
            if token_id in self._stop_ids:
                self.finish_reason = "end"
                piece += self._pieces.finish()
                break
            self.token_ids.append(token_id)
            self.log_probs.append(log_prob)
            piece += self._pieces.feed([token_id])
            if self.finished:
                self.finish_reason = "stop"
        self.text += piece
        return piece

    def finish(self) -> str:
        """Ends the row; returns the text that was held back."""
        piece = self._pieces.finish()
        self.text += piece
        return piece

    def result(self) -> Generation:
        return Generation(
            self.prompt, self.text, self.token_ids, self.log_probs, self.finish_reason
        )


class Run:
    """A batch of prompts on its way to texts; see `text.generate` for the arguments.

    Everything is checked here, before any compute; `pieces` does the work.
    """

    def __init__(
        self,
        model: GPT2Model,
        prompts: list[str],
        sampler: Sampler,
        *,
        max_new_tokens: int | None,
        seed: int | Sequence[int] | None,
        rules: Rules,
        prefix: PrefixCache | None,
        overflow: str,
        steps_between: int = STEPS_BETWEEN_LOOKS,
    ) -> None:
        if max_new_tokens is None:
            max_new_tokens = default_max_new_tokens(model)
        check_at_least_one("max_new_tokens", max_new_tokens)
        if sampler.top_k > model.config.vocab_size:
            raise ValueError(
                f"`top_k` must be at most vocab_size={model.config.vocab_size}. "
                f"Received: top_k={sampler.top_k}. 0 keeps all tokens."
            )
        if overflow not in ("refuse", "crop", "slide"):
            raise ValueError(
                "`overflow` must be one of refuse, crop, slide. "
                f"Received: overflow={overflow!r}. By default it is refuse."
            )
        self._prompt_ids = encode_prompts(
            model,
            prompts,
            max_new_tokens=max_new_tokens,
            overflow=overflow,
            prefix_length=0 if prefix is None else len(prefix.token_ids),
        )
        self._model, self._sampler, self._max_new_tokens = model, sampler, max_new_tokens
        self._seeds = make_seeds(seed, len(prompts))
        self._constraints = rules.to_constraints(model)
        self._prefix = prefix
        self._slides = overflow == "slide"
        # Without stop strings there is nothing to look for: one call draws all tokens.
        self._steps_between = steps_between if rules.stop or steps_between == 1 else None
        stop_ids = set(self._constraints.stop_ids.tolist())
        self.rows = [_Row(model, prompt, rules, stop_ids) for prompt in prompts]

    def pieces(self) -> Iterator[list[str]]:
        """Yields each row's next piece of text, again and again, until all are finished."""
        prefix = no_prefix(self._model) if self._prefix is None else self._prefix.tensors
        if not self._slides:
            rows = list(range(len(self.rows)))
            yield from self._window(rows, self._prompt_ids, self._max_new_tokens, prefix, 0)
        else:
            for row in range(len(self.rows)):
                for piece in self._sliding(row, prefix):
                    yield ["" if other != row else piece for other in range(len(self.rows))]
        yield [row.finish() for row in self.rows]

    def _window(
        self,
        rows: list[int],
        prompt_ids: list[list[int]],
        count: int,
        prefix: loop.Prefix,
        window: int,
    ) -> Iterator[list[str]]:
        """Draws up to `count` tokens for some of the rows, within one context."""
        functions = compiled(self._model)
        token_ids, num_tokens = pad(prompt_ids, 0, side="left")
        # Windows of a row draw with seeds of their own, as steps are counted anew.
        seeds = self._seeds[rows].view("uint32") + np.uint32(window * WINDOW_SEED_STEP % 2**32)
        settings = (sampling_tensors(self._sampler, seeds.view("int32")), self._constraints)
        state = functions.start(token_ids, num_tokens, *settings, np.int32(count), prefix)
        ids, log_probs = state.last_ids[:, None], state.last_log_probs[:, None]  # (batch, steps)
        left = count - 1
        while True:
            given = zip(rows, ids.numpy().tolist(), log_probs.numpy().tolist(), strict=True)
            yield [self.rows[row].feed(*tokens) for row, *tokens in given]
            finished = np.array([self.rows[row].finished for row in rows])
            if left == 0 or finished.all():
                return
            # A row that met a stop string is finished for the loop as well.
            state = state._replace(finished=finished)
            steps = min(left, self._steps_between or left)
            ids, log_probs, state = functions.advance(state, *settings, np.int32(steps))
            left -= steps

    def _sliding(self, row: int, prefix: loop.Prefix) -> Iterator[str]:
        """Draws one row's tokens, reading the last half of the context anew when it is full."""
        context = self._model.config.context_length
        kept, window = self._prompt_ids[row], 0
        while True:
            left = self._max_new_tokens - len(self.rows[row].token_ids)
            room = context - len(kept) - len(prefix.token_ids)
            for (piece,) in self._window([row], [kept], min(left, room), prefix, window):
                yield piece
            if left <= room or self.rows[row].finished:
                return
            everything = self._prompt_ids[row] + self.rows[row].token_ids
            kept, window = everything[-(context // 2) :], window + 1
            prefix = no_prefix(self._model)


def make_seeds(seed: int | Sequence[int] | None, count: int) -> np.ndarray:
    """Returns a seed for each row, as the int32 with the low 32 bits of each."""
    if seed is None:
        seed = secrets.randbits(32)
    seeds: list[Any] = [seed + row for row in range(count)] if isinstance(seed, int) else list(seed)
    if len(seeds) != count:
        raise ValueError(
            "There must be one seed, or one for each row. "
            f"Received: {len(seeds)} seeds for {count} rows."
        )
    return np.array([value & 0xFFFFFFFF for value in seeds], "uint32").view("int32")


def check_at_least_one(name: str, value: int) -> None:
    """Raises ValueError if a number is no integer of at least 1."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}.")
