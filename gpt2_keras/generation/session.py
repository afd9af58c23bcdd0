"""One call of `generate` or `stream`: checked arguments, and the loop driven from the host."""

import dataclasses
import secrets
from collections.abc import Iterator, Sequence

import numpy as np

from gpt2_keras.generation import decoding_loop
from gpt2_keras.generation.compiled import compiled
from gpt2_keras.generation.defaults import default_processors
from gpt2_keras.generation.finish_reason import FinishReason
from gpt2_keras.generation.logits_processors import LogitsProcessors, check_strings
from gpt2_keras.generation.padding import pad
from gpt2_keras.generation.prefix_cache import PrefixCache, no_prefix
from gpt2_keras.generation.prompts import (
    ON_OVERFLOW,
    Prompt,
    default_max_new_tokens,
    encode_prompts,
    prompt_text,
)
from gpt2_keras.generation.sampler import Sampler, sampling_tensors
from gpt2_keras.generation.streaming import TextDeltas
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer.special_tokens import SpecialTokens
from gpt2_keras.validation import (
    MAX_INT32,
    check_choice,
    check_flag,
    check_instance,
    check_integer,
    check_list,
)

# How often the host looks for stop strings, in tokens.
STEPS_BETWEEN_STOP_CHECKS = 16
# Spreads the seeds of a row's windows; any odd number would do.
WINDOW_SEED_STEP = 0x61C88647


@dataclasses.dataclass(frozen=True)
class Generation:
    """A generated text.

    Args:
        prompt: The text that it continues.
        text: The new text.
        token_ids: Its tokens; those of a stop string, if it ended at one, included.
        log_probs: The log-probability that the model gave each of them, in nats, before
            temperature, penalties and filters.
        finish_reason: `"end"`: an end token or another stop id was sampled; `"stop"`: it
            met a stop string; `"length"`: it had `max_new_tokens`.
        score: The score of a beam search, see `BeamSearch`; otherwise None.
    """

    prompt: str
    text: str
    token_ids: list[int]
    log_probs: list[float]
    finish_reason: FinishReason
    score: float | None = None

    @property
    def mean_log_prob(self) -> float:
        """The mean log-probability per token, in nats; 0 if there is none."""
        return sum(self.log_probs) / max(1, len(self.log_probs))


class _Row:
    """The text of one row so far."""

    def __init__(
        self, model: GPT2Model, prompt: str, stop: Sequence[str], stop_ids: set[int]
    ) -> None:
        self.prompt, self.text = prompt, ""
        self.token_ids: list[int] = []
        self.log_probs: list[float] = []
        self.finish_reason: FinishReason = "length"
        self._stop_ids = stop_ids
        self._deltas = TextDeltas(model.require_tokenizer(), stop)

    @property
    def finished(self) -> bool:
        return self._deltas.stopped

    def feed(self, token_ids: Sequence[int], log_probs: Sequence[float]) -> str:
        """Takes tokens, up to the first stop id; returns the text that is certain now."""
        delta = ""
        for token_id, log_prob in zip(token_ids, log_probs, strict=True):
            if self.finished:
                break
            if token_id in self._stop_ids:
                self.finish_reason = "end"
                delta += self._deltas.finish()
                break
            self.token_ids.append(token_id)
            self.log_probs.append(log_prob)
            delta += self._deltas.feed([token_id])
            if self.finished:
                self.finish_reason = "stop"
        self.text += delta
        return delta

    def finish(self) -> str:
        """Ends the row; returns the text that was held back."""
        delta = self._deltas.finish()
        self.text += delta
        return delta

    def result(self) -> Generation:
        return Generation(
            self.prompt, self.text, self.token_ids, self.log_probs, self.finish_reason
        )


class GenerationSession:
    """A batch of prompts that become texts; see `generate` for the arguments.

    All arguments are checked here, before any compute; `deltas` generates.
    """

    def __init__(
        self,
        model: GPT2Model,
        prompts: list[Prompt],
        sampler: Sampler,
        *,
        max_new_tokens: int | None,
        seed: int | Sequence[int] | None,
        stop: str | Sequence[str],
        stop_token_ids: Sequence[int],
        logits_processors: LogitsProcessors | None,
        prefix_cache: PrefixCache | None,
        on_overflow: str,
        special_tokens: SpecialTokens | None,
        jit_compile: bool = False,
        steps_between_checks: int = STEPS_BETWEEN_STOP_CHECKS,
    ) -> None:
        if max_new_tokens is None:
            max_new_tokens = default_max_new_tokens(model)
        check_integer("max_new_tokens", max_new_tokens, minimum=1)
        vocab_size = model.config.vocab_size
        check_integer("top_k", sampler.top_k, maximum=vocab_size, advice="0 keeps all tokens.")
        check_choice("on_overflow", on_overflow, ON_OVERFLOW)
        stop_token_ids = list(check_list("stop_token_ids", stop_token_ids, "a list of token ids"))
        for token_id in stop_token_ids:
            check_integer("a token id of stop_token_ids", token_id, minimum=0, maximum=MAX_INT32)
        processors = logits_processors
        if processors is None:
            processors = default_processors(model)
        check_instance("logits_processors", processors, LogitsProcessors, "a LogitsProcessors")
        prefix_length = 0
        if prefix_cache is not None:
            check_instance("prefix_cache", prefix_cache, PrefixCache, "what cache_prefix returns")
            prefix_length = len(prefix_cache.token_ids)
        self._jit_compile = check_flag("jit_compile", jit_compile)
        self._stop = check_strings("stop", stop)
        self._prompt_ids = encode_prompts(
            model,
            prompts,
            max_new_tokens=max_new_tokens,
            on_overflow=on_overflow,
            prefix_length=prefix_length,
            special_tokens=special_tokens,
        )
        self._model, self._sampler, self._max_new_tokens = model, sampler, max_new_tokens
        self._seeds = make_seeds(seed, len(prompts))
        self._processors = processors.to_tensors(model, stop_token_ids, special_tokens)
        self._prefix_cache = prefix_cache
        self._slides = on_overflow == "sliding_window"
        # Without stop strings there is nothing to look for: one call samples all tokens.
        checks = self._stop or steps_between_checks == 1
        self._steps_between_checks = steps_between_checks if checks else None
        stop_ids = set(self._processors.stop_ids.tolist())
        self.rows = [_Row(model, prompt_text(each), self._stop, stop_ids) for each in prompts]
        self._state: decoding_loop.DecodingState | None = None

    def deltas(self) -> Iterator[list[str]]:
        """Yields the next text delta of each row, again and again, until all are finished."""
        cached = self._prefix_cache
        prefix = no_prefix(self._model) if cached is None else cached.tensors
        if not self._slides:
            rows = list(range(len(self.rows)))
            yield from self._window(rows, self._prompt_ids, self._max_new_tokens, prefix, 0)
        else:
            for row in range(len(self.rows)):
                for delta in self._sliding_window(row, prefix):
                    yield ["" if other != row else delta for other in range(len(self.rows))]
        yield [row.finish() for row in self.rows]

    def read_so_far(self) -> PrefixCache | None:
        """Returns the cache of all that was read for a single text, to go on from it later.

        None if nothing was, or there is padding among it, as JAX has for its buckets.
        """
        state = self._state
        if state is None or len(self.rows) != 1:
            return None
        count = int(state.cache_index)
        if not np.asarray(state.padding_mask)[0, :count].all():
            return None
        ids = np.asarray(state.history.token_ids[0, :count])
        cache = [tuple(part[:, :, :count] for part in pair) for pair in state.cache]
        return PrefixCache("", ids.tolist(), decoding_loop.Prefix(cache, ids))

    def _window(
        self,
        rows: list[int],
        prompt_ids: list[list[int]],
        count: int,
        prefix: decoding_loop.Prefix,
        window: int,
    ) -> Iterator[list[str]]:
        """Samples up to `count` tokens for some of the rows, within one context."""
        functions = compiled(self._model, jit_compile=self._jit_compile)
        token_ids, num_tokens = pad(prompt_ids, 0, side="left")
        # Each window of a row has a seed of its own, as its steps are counted from 0.
        seeds = self._seeds[rows].view("uint32") + np.uint32(window * WINDOW_SEED_STEP % 2**32)
        settings = (sampling_tensors(self._sampler, seeds.view("int32")), self._processors)
        state = functions.start(token_ids, num_tokens, *settings, np.int32(count), prefix)
        self._state = state
        ids, log_probs = state.last_ids[:, None], state.last_log_probs[:, None]  # (batch, steps)
        left = count - 1
        while True:
            new = zip(rows, np.asarray(ids).tolist(), np.asarray(log_probs).tolist(), strict=True)
            yield [self.rows[row].feed(*tokens) for row, *tokens in new]
            finished = np.array([self.rows[row].finished for row in rows])
            if left == 0 or finished.all():
                return
            # A row that met a stop string is finished for the loop as well.
            state = state._replace(finished=finished)
            steps = min(left, self._steps_between_checks or left)
            ids, log_probs, state = functions.advance(state, *settings, np.int32(steps))
            self._state = state
            left -= steps

    def _sliding_window(self, row: int, prefix: decoding_loop.Prefix) -> Iterator[str]:
        """Samples one row's tokens; a full context begins again with its last half."""
        context = self._model.config.context_length
        prompt_ids, window = self._prompt_ids[row], 0
        while True:
            left = self._max_new_tokens - len(self.rows[row].token_ids)
            room = context - len(prompt_ids) - len(prefix.token_ids)
            for (delta,) in self._window([row], [prompt_ids], min(left, room), prefix, window):
                yield delta
            if left <= room or self.rows[row].finished:
                return
            token_ids = self._prompt_ids[row] + self.rows[row].token_ids
            prompt_ids, window = token_ids[-(context // 2) :], window + 1
            prefix = no_prefix(self._model)


def make_seeds(seed: int | Sequence[int] | None, count: int) -> np.ndarray:
    """Returns a seed for each row, as the int32 with the low 32 bits of each."""
    if seed is None:
        seed = secrets.randbits(32)
    if isinstance(seed, np.ndarray) and seed.ndim == 0:
        seed = seed.item()
    if isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str | bytes):
        seeds = [check_integer(f"seed[{row}]", value) for row, value in enumerate(seed)]
    else:
        first = check_integer("seed", seed, advice="Or give one for each row.")
        seeds = [first + row for row in range(count)]
    if len(seeds) != count:
        raise ValueError(
            f"{len(seeds)} seeds were given for {count} rows. Give one seed, or one for each row."
        )
    return np.array([value & 0xFFFFFFFF for value in seeds], "uint32").view("int32")
