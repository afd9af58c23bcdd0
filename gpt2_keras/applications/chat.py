"""A conversation with a model."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

from gpt2_keras.applications.chat_task import MAX_NEW_TOKENS, STOP
from gpt2_keras.applications.post_processing import strip
from gpt2_keras.applications.text_task import token_limit
from gpt2_keras.applications.turns import FORMATS, TurnEncoder
from gpt2_keras.generation import EncodedPrompt, PrefixCache, Sampler
from gpt2_keras.generation.defaults import default_sampler
from gpt2_keras.generation.finish_reason import FinishReason
from gpt2_keras.generation.prefix_cache import reuse_prefix
from gpt2_keras.generation.session import STEPS_BETWEEN_STOP_CHECKS, GenerationSession
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_choice, check_instance, check_integer, check_text


@dataclasses.dataclass(frozen=True)
class Reply:
    """The answer of a turn.

    Args:
        text: The answer.
        prompt: What the model read.
        cropped: The oldest turns that were dropped for it, as they did not fit.
        log_prob: The log-probability of what was generated, in nats.
        finish_reason: Why it ended, see `Generation`.
    """

    text: str
    prompt: str
    cropped: str
    log_prob: float
    finish_reason: FinishReason

    def __str__(self) -> str:
        return self.text


class Chat:
    """A conversation: what was said is read again for each answer, from a cache.

    Where the conversation does not fit into the context with room for an answer, its oldest
    turns are dropped, a message with its answer, until those kept fill at most three quarters of
    the room. What a user types is text: markers of turns and special tokens are none in it. An
    answer ends where the model begins to speak for somebody else.

    A model that was trained on conversations answers best: `train --task chat`, or DialoGPT.

    Args:
        model: A model with a tokenizer. Its weights must not change during the conversation.
        system: What stands before the conversation; only of the format `"plain"`.
        format: `"plain"`: `User: …`, an empty line, `Assistant: …`, as `train --task chat`
            learns it. `"dialogpt"`: each turn ends with `<|endoftext|>`, as DialoGPT has it.
        max_new_tokens: Largest number of tokens of an answer, for which room is kept; by default
            64, but at most half the context.
        sampler: By default the model's, as for `generate`.
        seed: Makes sampling repeatable; the answer to message i has `seed + i`.
        messages: A conversation to continue: mappings of `role`, user and assistant in turns,
            and `content`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of its range, or the messages are not in turns.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["abc"], vocab_size=257)
        >>> model = GPT2LM(GPT2Config(vocab_size=257, context_length=64, num_layers=1,
        ...                           num_heads=1, hidden_dim=4), tokenizer)
        >>> chat = Chat(model, max_new_tokens=4)
        >>> chat.ask("Hello!").prompt
        'User: Hello!\\n\\nAssistant:'
        >>> [message["role"] for message in chat.messages]
        ['user', 'assistant']
    """

    def __init__(
        self,
        model: GPT2Model,
        *,
        system: str = "",
        format: str = "plain",  # noqa: A002 -- the word for it
        max_new_tokens: int | None = None,
        sampler: Sampler | None = None,
        seed: int | None = None,
        messages: Sequence[Mapping[str, str]] = (),
    ) -> None:
        check_choice("format", format, FORMATS)
        said = strip(check_text("system", system))
        if said and format != "plain":
            raise ValueError(
                f"system={system!r:.40} is given for format={format!r}, which has no place for it. "
                "Leave it out."
            )
        if seed is not None:
            check_integer("seed", seed)
        self._model, self._seed = model, seed
        self._encoder = TurnEncoder(model.require_tokenizer(), format, said)
        self._stop = STOP if format == "plain" else ()
        self._limit = token_limit(model, max_new_tokens, MAX_NEW_TOKENS)
        self._sampler = default_sampler(model) if sampler is None else sampler
        self._turns = _pairs_of(messages)
        self._cached: PrefixCache | None = None
        self._count = len(self._turns)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation, without the turns that were dropped."""
        return [
            {"role": role, "content": content}
            for turn in self._turns
            for role, content in zip(("user", "assistant"), turn, strict=True)
        ]

    def ask(self, message: str) -> Reply:
        """Answers a message.

        Raises:
            TypeError: If it is no `str`.
            ValueError: If it is empty, or too long even without what was said before.
        """
        for _ in (session := self._begin(message, STEPS_BETWEEN_STOP_CHECKS)):
            pass
        return session.reply

    def stream(self, message: str) -> "AnswerStream":
        """Answers a message, a text delta at a time; arguments and errors are `ask`'s.

        Returns:
            An iterator of text deltas, with the `reply` at its end. Whenever it is left early,
            `close` keeps what was said so far.
        """
        return self._begin(message, 1)

    def reset(self) -> None:
        """Forgets what was said."""
        self._turns.clear()

    def undo(self) -> bool:
        """Forgets the last message and its answer; returns whether there was one."""
        return bool(self._turns) and bool(self._turns.pop())

    def _begin(self, message: str, steps_between_checks: int) -> "AnswerStream":
        """Reads a message, and returns the stream of its answer."""
        if not (text := strip(check_text("message", message))):
            raise ValueError(f"message={message!r:.40} is empty. Say something.")
        room = self._model.config.context_length - self._limit
        dropped, ids = self._encoder.fit(self._turns, text, room)
        tokenizer, kept = self._encoder.tokenizer, self._turns[dropped:]
        cropped = [one for turn in self._turns[:dropped] for one in self._encoder.turn(turn)]
        if len(ids) > 1:
            self._cached = reuse_prefix(self._model, self._cached, ids[:-1])
        session = GenerationSession(
            self._model,
            [EncodedPrompt((ids[-1],))],
            self._sampler,
            max_new_tokens=self._limit,
            seed=None if self._seed is None else self._seed + self._count,
            stop=self._stop,
            stop_token_ids=[tokenizer.end_token_id],
            logits_processors=None,
            prefix_cache=self._cached if len(ids) > 1 else None,
            on_overflow="error",
            special_tokens=None,
            steps_between_checks=steps_between_checks,
        )

        def keep(answer: str) -> None:
            self._turns = [*kept, (text, answer)]
            self._count += 1
            self._cached = session.read_so_far() or self._cached

        return AnswerStream(session, tokenizer.decode(ids), strip(tokenizer.decode(cropped)), keep)


class AnswerStream:
    """The text deltas of an answer; made by `Chat.stream`.

    Attributes:
        reply: The answer, once it is complete or the stream was closed.
    """

    def __init__(
        self, session: GenerationSession, prompt: str, cropped: str, keep: Callable[[str], None]
    ) -> None:
        self._session, self._prompt, self._cropped, self._keep = session, prompt, cropped, keep
        self._deltas = session.deltas()
        self.reply: Reply

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            while not (delta := next(self._deltas)[0]):
                pass
        except StopIteration:
            self.close()
            raise
        return delta

    def close(self) -> None:
        """Ends the answer here, and keeps it in the conversation."""
        if hasattr(self, "reply"):
            return
        found = self._session.rows[0].result()
        text = strip(found.text)
        self.reply = Reply(
            text, self._prompt, self._cropped, sum(found.log_probs), found.finish_reason
        )
        self._keep(text)


def _pairs_of(messages: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Returns messages as pairs of a message and its answer."""
    check_instance("messages", messages, (list, tuple), "a list of messages")
    for index, message in enumerate(messages):
        expected = ("user", "assistant")[index % 2]
        is_object = isinstance(message, Mapping)
        role, content = (message.get(k) if is_object else None for k in ("role", "content"))
        if role != expected or not isinstance(content, str):
            raise ValueError(
                f"messages[{index}]={message!r:.80} is not a message of the {expected}. Use "
                "mappings of `role`, user and assistant in turns, and `content`."
            )
    if len(messages) % 2:
        raise ValueError(
            f"messages has {len(messages)} of them, the last without an answer. `ask` it instead."
        )
    texts = [strip(message["content"]) for message in messages]
    return list(zip(texts[::2], texts[1::2], strict=True))
