"""What lm-evaluation-harness asks of a model, answered by a Keras model or an artifact of it."""

import abc
from collections.abc import Callable, Sequence
from typing import Any

from gpt2_keras import checkpoints
from gpt2_keras.generation import EncodedPrompt, generate
from gpt2_keras.generation.defaults import default_sampler
from gpt2_keras.generation.spans import Span, score_spans
from gpt2_keras.model import GPT2Model

Progress = Callable[[int, int], None]
# The log-probability of a span's targets together, and whether each is the most likely token.
Answer = tuple[float, bool]


class HarnessModel(abc.ABC):
    """A model that scores and continues token ids.

    Attributes:
        end_token_id: The id of the end token, which is also read where there is no context.
        max_length: Largest number of tokens that it reads.
    """

    end_token_id: int
    max_length: int

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of texts, in which end tokens are such."""

    @abc.abstractmethod
    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of ids."""

    @abc.abstractmethod
    def score(
        self, spans: Sequence[Span], batch_size: int | None, on_progress: Progress
    ) -> list[Answer]:
        """Scores spans; `on_progress` is called with the number of tokens scored and of all."""

    @abc.abstractmethod
    def generate(
        self, prompts: Sequence[list[int]], max_new_tokens: int, stop: list[str], **numbers: Any
    ) -> list[str]:
        """Continues prompts of ids.

        Args:
            prompts: The ids, at least one each, with room for the new tokens.
            max_new_tokens: Largest number of new tokens.
            stop: Strings at which a text ends.
            **numbers: Fields of `Sampler`; a `temperature` is among them.
        """


class KerasHarnessModel(HarnessModel):
    """A model directory, or what else `GPT2LM.from_preset` loads.

    Args:
        pretrained: The directory or name.
        dtype: Keras' dtype or policy; by default its global one.
    """

    def __init__(self, pretrained: str, dtype: str | None = None) -> None:
        self._model = checkpoints.load(pretrained, model_class=GPT2Model, dtype=dtype)
        # As transformers' tokenizers read text.
        tokenizer = self._model.require_tokenizer().with_special_tokens_policy("all")
        self._tokenizer = tokenizer
        self.end_token_id = tokenizer.end_token_id
        self.max_length = self._model.config.context_length

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of texts."""
        return self._tokenizer.encode(list(texts))

    def decode(self, token_ids: Sequence[int]) -> str:
        """Returns the text of ids."""
        return self._tokenizer.decode(list(token_ids))

    def score(
        self, spans: Sequence[Span], batch_size: int | None, on_progress: Progress
    ) -> list[Answer]:
        """Scores spans, those of about the same length together."""
        scores = score_spans(self._model, spans, batch_size=batch_size, on_progress=on_progress)
        return [(each.total, not each.ranks.any()) for each in scores]

    def generate(
        self, prompts: Sequence[list[int]], max_new_tokens: int, stop: list[str], **numbers: Any
    ) -> list[str]:
        """Continues prompts in one batch."""
        encoded = [EncodedPrompt(tuple(ids)) for ids in prompts]
        seed = numbers.pop("seed", None)
        texts: list[str] = generate(
            self._model,
            encoded,
            max_new_tokens=max_new_tokens,
            stop=stop,
            sampler=default_sampler(self._model, **numbers),
            seed=seed,
        )
        return texts
