"""A back end of lm-evaluation-harness: `lm_eval --model gpt2-keras --model_args pretrained=DIR`.

Needs the extra `harness`. `gpt2-keras lm-eval` hands its arguments to the harness' own command
line, with this back end registered.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from tqdm import tqdm

from gpt2_keras.evaluation.continuations import continuation_span
from gpt2_keras.evaluation.harness_artifacts import LiteRTHarnessModel, SavedModelHarnessModel
from gpt2_keras.evaluation.harness_models import HarnessModel, KerasHarnessModel
from gpt2_keras.evaluation.perplexity import windows
from gpt2_keras.generation.spans import Span

NAME = "gpt2-keras"
TARGET = "gpt2_keras.evaluation.harness:GPT2KerasLM"
# transformers' names of settings, which tasks use, and those of `Sampler`.
_PENALTIES = ("repetition_penalty", "no_repeat_ngram_size")
_SETTINGS = ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed", *_PENALTIES)
_DEFAULT_BATCH_SIZE = 8  # of texts to continue


class GPT2KerasLM(TemplateLM):
    """The model that lm-evaluation-harness asks.

    Its answers equal those of the harness' own `hf` on the same checkpoint: `<|endoftext|>`
    stands before a text only where there is no context, context and continuation are encoded
    together, and what is too long loses its beginning.

    Args:
        pretrained: A model or run directory, or the name of a published model.
        saved_model: In place of it, a SavedModel that `gpt2-keras export` wrote.
        tflite: In place of it, a `.tflite` file.
        batch_size: Texts in a batch, or `"auto"`; changes results by rounding only.
        max_length: Largest number of tokens to read. By default the model's.
        max_gen_toks: Largest number of new tokens of a task that does not say.
        dtype: Keras' dtype or policy of a `pretrained` model.
        **ignored: What the harness passes to every back end: `device`, `max_batch_size`.

    Raises:
        TypeError: If another argument is given.
        ValueError: If not exactly one of the three is given, or a number is out of its range.
        FileNotFoundError: If there is no model.
        ImportError: If what runs it is not installed.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        saved_model: str | None = None,
        tflite: str | None = None,
        batch_size: int | str | None = None,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        dtype: str | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if unknown := set(ignored) - {"device", "max_batch_size"}:
            raise TypeError(
                f"{', '.join(sorted(unknown))}: no argument of {NAME}. Use pretrained, "
                "saved_model, tflite, batch_size, max_length, max_gen_toks or dtype."
            )
        given = {"pretrained": pretrained, "saved_model": saved_model, "tflite": tflite}
        named = [name for name, value in given.items() if value is not None]
        if len(named) != 1:
            raise ValueError(
                f"{' and '.join(named) or 'No model'} given to {NAME}. Name one of pretrained=DIR, "
                "saved_model=DIR and tflite=FILE."
            )
        self.batch_size = _batch_size(batch_size)
        make: dict[str, Callable[[str], HarnessModel]] = {
            "pretrained": lambda path: KerasHarnessModel(path, dtype),
            "saved_model": SavedModelHarnessModel,
            "tflite": LiteRTHarnessModel,
        }
        self.model = make[named[0]](str(given[named[0]]))
        self._max_length = _at_most(self.model.max_length, max_length)
        self.max_gen_toks = int(max_gen_toks)

    @property
    def eot_token_id(self) -> int:
        """The id of `<|endoftext|>`."""
        return self.model.end_token_id

    @property
    def max_length(self) -> int:
        """Largest number of tokens to read."""
        return self._max_length

    @property
    def tokenizer_name(self) -> str:
        """By which the harness names its caches of requests."""
        return NAME

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,  # noqa: ARG002 -- GPT-2 adds none
        **ignored: Any,  # noqa: ARG002 -- of other back ends
    ) -> list[int]:
        """Returns the ids of a text."""
        return self.model.encode([string])[0]

    def tok_decode(self, tokens: Sequence[int]) -> str:
        """Returns the text of ids."""
        return self.model.decode(tokens)

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **ignored: Any,  # noqa: ARG002 -- of other back ends
    ) -> list[tuple[float, bool]]:
        spans = [
            continuation_span(f"The continuation {pair[1][:40]!r}", given, scored, self.max_length)
            for pair, given, scored in requests
        ]
        answers = self._score(spans, disable_tqdm)
        for (pair, _, _), answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, answer)
        return answers

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """Returns the log-probability of each text, in disjoint windows, the last one full."""
        texts = [request.args[0] for request in requests]
        rows = self.model.encode(texts) if texts else []
        spans: list[Span] = []
        counts = []
        for ids in rows:
            whole = [self.prefix_token_id, *ids]
            made = windows(whole, self.max_length, self.max_length, full_last_window=True)
            spans += made if ids else ()
            counts.append(len(spans))
        answers = self._score(spans, disable_tqdm)
        totals = []
        for text, start, end in zip(texts, [0, *counts], counts, strict=False):
            totals.append(sum(loss for loss, _ in answers[start:end]))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
        return totals

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Returns the continuation of each text up to a stop string, greedily unless told."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[json.dumps(request.args[1], sort_keys=True, default=str)].append(index)
        found: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Generating") as bar:
            for indices in groups.values():  # of equal settings
                asked = requests[indices[0]].args[1]
                contexts = {index: requests[index].args[0] for index in indices}
                for index, text in self._continue(contexts, asked):
                    found[index] = text
                    self.cache_hook.add_partial("generate_until", requests[index].args, text)
                    bar.update()
        return [found[index] for index in range(len(requests))]

    def _continue(self, contexts: dict[int, str], asked: dict[str, Any]) -> Any:
        """Yields the index and the new text of each context, the longest first."""
        settings: dict[str, Any] = dict(normalize_gen_kwargs(asked, self.max_gen_toks))
        max_new_tokens = settings.pop("max_gen_toks")
        room = self.max_length - max_new_tokens
        if room < 1:
            raise ValueError(
                f"max_gen_toks={max_new_tokens} leaves no room for a context in "
                f"max_length={self.max_length}. Use at most {self.max_length - 1}."
            )
        end = self.tok_decode([self.eot_token_id])
        stop = [each for each in handle_stop_sequences(settings.pop("until", None), end) if each]
        numbers = _sampler_numbers(settings)
        ids = dict(zip(contexts, self.model.encode(list(contexts.values())), strict=True))
        order = sorted(contexts, key=lambda index: -len(ids[index]))
        size = self.batch_size or _DEFAULT_BATCH_SIZE
        for batch in (order[start : start + size] for start in range(0, len(order), size)):
            prompts = [ids[index][-room:] or [self.eot_token_id] for index in batch]
            texts = self.model.generate(prompts, max_new_tokens, stop, **numbers)
            yield from zip(batch, texts, strict=True)

    def _score(self, spans: list[Span], disable_tqdm: bool) -> list[tuple[float, bool]]:
        total = sum(len(span.targets) for span in spans)
        with tqdm(total=total, unit="token", disable=disable_tqdm, desc="Scoring") as bar:
            return self.model.score(
                spans, self.batch_size, lambda done, _: bar.update(done - bar.n)
            )


def _batch_size(value: int | str | None) -> int | None:
    """Returns the number of texts in a batch; None to choose it."""
    if value is None or str(value).startswith("auto"):
        return None
    if not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"batch_size={value!r} is no integer of at least 1. Use one, or 'auto'.")
    return int(value)


def _at_most(limit: int, value: int | None) -> int:
    """Returns the largest number of tokens to read."""
    if value is None:
        return limit
    if not 1 < int(value) <= limit:
        raise ValueError(
            f"max_length={value} is not from 2 to {limit}, the context of the model. Use an "
            "integer in between, or leave it out."
        )
    return int(value)


def _sampler_numbers(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of `Sampler` of what a task sets."""
    sampled = settings.pop("do_sample", False)
    unknown = [name for name in settings if name not in _SETTINGS]
    if unknown:
        raise ValueError(
            f"{', '.join(f'{name}={settings[name]}' for name in unknown)} in the generation "
            f"settings of the task is not known to {NAME}. It knows {', '.join(_SETTINGS)}."
        )
    if sampled:
        return settings
    return {"temperature": 0.0} | {k: v for k, v in settings.items() if k in _PENALTIES}
