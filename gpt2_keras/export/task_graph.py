"""Tasks from text to text in a graph, as `applications/text_task.py`, in ops that LiteRT has."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from gpt2_keras.applications.post_processing import CLOSERS, SENTENCE_ENDS, WHITE_SPACE
from gpt2_keras.applications.text_task import Field, Literal, TextTask
from gpt2_keras.applications.turns import KEPT_FRACTION, turn_start
from gpt2_keras.generation.defaults import default_processors
from gpt2_keras.generation.logits_processors import ProcessorTensors
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer

_NO_ID = -1  # of no token


class TaskPrompt:
    """The prompts of a task, for one input at a time.

    Args:
        model: A model with a tokenizer.
        task: The task.
        context_length: Largest number of tokens of prompt and answer.
    """

    def __init__(self, model: GPT2Model, task: TextTask, context_length: int) -> None:
        tokenizer = model.require_tokenizer().with_special_tokens_policy("none")
        self._task, self._turn_start = task, turn_start(tokenizer)
        role = tokenizer.encode(tokenizer.decode(self._turn_start).lstrip())
        self._separator_length = len(self._turn_start) - len(role)
        self._room = context_length - task.max_new_tokens
        self._literals = {
            part: (tokenizer.encode(part.text), tokenizer.encode(part.separator + part.text))
            for part in task.parts
            if isinstance(part, Literal)
        }

    def __call__(self, fields: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the ids of a prompt.

        Args:
            fields: For each field its ids, with what stands before it, int32 `(tokens,)`; none of
                an empty one.

        Returns:
            The ids, int32 `(time,)`, never more than there is room for; how many ids were left
            out, int32 `()`; and by how many the prompt was too long even so, int32 `()`, of which
            the first are left out.
        """
        parts, fields = self._task.parts, dict(fields)
        size = sum(tf.size(ids) for ids in self._assemble(fields))
        excess = tf.maximum(size - self._room, 0)
        cropped = tf.constant(0)
        for part in parts:
            if isinstance(part, Field) and part.crop:
                whole = fields[part.name]
                kept, present = self._crop(part, whole, excess)
                fields[part.name] = kept
                cropped = tf.size(whole) - tf.size(kept)
                ids = tf.concat(self._assemble(fields, {part.name: present}), axis=0)
                break
        else:
            ids = tf.concat(self._assemble(fields), axis=0)
        too_many = tf.maximum(tf.size(ids) - self._room, 0)
        return tf.gather(ids, tf.range(too_many, tf.size(ids))), cropped, too_many

    def _assemble(
        self, fields: Mapping[str, tf.Tensor], present: Mapping[str, tf.Tensor] | None = None
    ) -> list[tf.Tensor]:
        """Returns the ids of each part, with separators where something stands before it.

        Args:
            fields: The ids of the fields.
            present: Whether a field counts as not empty, bool `()`; by default if it is not.
        """
        found: list[tf.Tensor] = []
        begun: tf.Tensor | bool = False
        for part in self._task.parts:
            if isinstance(part, Literal):
                alone, separated = self._literals[part]
                if isinstance(begun, bool):
                    found.append(tf.constant(separated if begun else alone, tf.int32))
                else:
                    found += _one_of(begun, separated, alone)
                begun = True
                continue
            ids = fields[part.name]
            found.append(ids)
            is_present = (present or {}).get(part.name, tf.size(ids) > 0)
            if begun is not True:
                begun = is_present if begun is False else tf.logical_or(begun, is_present)
        return found

    def _crop(self, part: Field, ids: tf.Tensor, excess: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what is kept of a field, and whether it counts as not empty."""
        count = tf.size(ids)
        room = tf.maximum(count - excess, 0)
        if part.crop != "turns":
            return tf.gather(ids, tf.range(room)), count > 0
        # As `crop_turns`: the first turn of the user from which on all of them are few enough.
        padded = tf.concat([ids, tf.fill([len(self._turn_start)], _NO_ID)], axis=0)
        index = tf.range(count)
        begins = index > 0
        for offset, one in enumerate(self._turn_start):
            begins = tf.logical_and(begins, tf.equal(tf.gather(padded, index + offset), one))
        left = (count - index) * KEPT_FRACTION.denominator
        fits = tf.logical_and(begins, left <= room * KEPT_FRACTION.numerator)
        start = tf.reduce_min(tf.concat([tf.where(fits, index, count), [count]], axis=0))
        skipped = 0 if part.before else self._separator_length
        start = tf.where(excess > 0, tf.minimum(start + skipped, count), 0)
        kept = tf.gather(ids, tf.range(start, count))
        return kept, tf.size(kept) > 0


def task_processors(model: GPT2Model, task: TextTask) -> ProcessorTensors:
    """Returns the logits processors of a task, as constants.

    Tokens of white space that hold a stop string end a text as the string does, since white space
    is stripped. Where the model must not end early, the string alone ends it, afterwards.
    """
    tokenizer, processors = model.require_tokenizer(), default_processors(model)
    stops = [] if processors.min_new_tokens else _white_space_with(tokenizer, task.stop)
    tensors = processors.to_tensors(model, stops)
    return ProcessorTensors(*map(tf.constant, tensors))


def _white_space_with(tokenizer: GPT2Tokenizer, stop: Sequence[str]) -> list[int]:
    """Returns the ids of tokens of white space that hold a stop string."""
    texts = [data.decode("utf-8", "replace") for data in tokenizer.token_bytes]
    return [
        index
        for index, text in enumerate(texts)
        if text and not text.strip(WHITE_SPACE) and any(each in text for each in stop)
    ]


def answer_span(codes: tf.Tensor, size: tf.Tensor, task: TextTask) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the answer begins and ends in generated texts; see `TextTask.finish`.

    Args:
        codes: Int32 tensor `(batch, length)`: the bytes of the texts, anything after them.
        size: Int32 tensor `(batch,)`: the number of bytes of each.
        task: Its stop strings and number of sentences count.

    Returns:
        Two int32 tensors `(batch,)`.
    """
    index = tf.expand_dims(tf.range(tf.shape(codes)[1]), 0)  # (1, length)
    for stop in task.stop:
        found = _matches(codes, stop.encode())
        ends = index + len(stop.encode()) <= tf.expand_dims(size, 1)
        size = _first(tf.logical_and(found, ends), index, size)
    inside = index < tf.expand_dims(size, 1)  # (batch, length)
    filled = tf.logical_and(inside, ~_is_any(codes, WHITE_SPACE))
    start = _first(filled, index, size)
    ends = tf.where(filled, index + 1, 0)  # (batch, length)
    end = tf.reduce_max(tf.concat([ends, tf.expand_dims(start, 1)], axis=1), axis=1)
    if task.num_sentences:
        end = _sentences_end(codes, index, start, end, task.num_sentences)
    return start, end


def _sentences_end(
    codes: tf.Tensor, index: tf.Tensor, start: tf.Tensor, end: tf.Tensor, count: int
) -> tf.Tensor:
    """Returns where the first sentences end; see `first_sentences`."""
    after, before = _shifted(codes, 1), _shifted(codes, -1)
    is_last = tf.equal(index + 1, tf.expand_dims(end, 1))
    at_edge = tf.logical_or(is_last, _is_any(after, WHITE_SPACE))
    has_before = index > tf.expand_dims(start, 1)
    closed = _is_any(codes, CLOSERS) & _is_any(before, SENTENCE_ENDS) & has_before
    inside = (index >= tf.expand_dims(start, 1)) & (index < tf.expand_dims(end, 1))
    ends = (_is_any(codes, SENTENCE_ENDS) | closed) & at_edge & inside  # (batch, length)
    number = tf.cumsum(tf.cast(ends, tf.int32), axis=1)
    return _first(ends & tf.equal(number, count), index + 1, end)


def _matches(codes: tf.Tensor, text: bytes) -> tf.Tensor:
    """Returns where a text begins, bool `(batch, length)`."""
    found = tf.equal(codes, text[0])
    for offset, byte in enumerate(text[1:], start=1):
        found = tf.logical_and(found, tf.equal(_shifted(codes, offset), byte))
    return found


def _shifted(codes: tf.Tensor, offset: int) -> tf.Tensor:
    """Returns the bytes that stand `offset` later; 0 where there is none."""
    zeros = tf.zeros_like(codes[:, :1])
    padding = tf.tile(zeros, [1, abs(offset)])
    if offset > 0:
        return tf.concat([codes, padding], axis=1)[:, offset:]
    return tf.concat([padding, codes], axis=1)[:, :offset]


def _first(mask: tf.Tensor, index: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
    """Returns the smallest index in each row of a mask, `(batch,)`; or what is given otherwise."""
    far = tf.expand_dims(otherwise, 1)
    found = tf.where(mask, index + tf.zeros_like(far), far + tf.zeros_like(index))
    return tf.reduce_min(tf.concat([found, far], axis=1), axis=1)


def _is_any(codes: tf.Tensor, characters: str) -> tf.Tensor:
    found = tf.equal(codes, ord(characters[0]))
    for character in characters[1:]:
        found = tf.logical_or(found, tf.equal(codes, ord(character)))
    return found


def _one_of(condition: tf.Tensor, one: list[int], other: list[int]) -> list[tf.Tensor]:
    """Returns one of two lists of ids, as tensors of which one is empty."""
    is_one = tf.cast(condition, tf.int32)
    return [
        tf.gather(tf.constant([*ids, 0], tf.int32), tf.range(len(ids) * chosen))
        for ids, chosen in ((one, is_one), (other, 1 - is_one))
    ]
