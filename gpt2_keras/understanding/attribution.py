"""Which tokens of a text a prediction comes from, by gradients and by occlusion."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from keras import ops

from gpt2_keras.layers.activations import Observer, observing
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.lens import logits_of
from gpt2_keras.understanding.texts import ids_of, token_of, tokens_of
from gpt2_keras.validation import check_choice, check_integer

METHODS = ("input_x_gradient", "gradient_norm", "integrated_gradients", "occlusion")
_TOKENS_AT_ONCE = 1024  # of a batch whose gradients are computed


@dataclasses.dataclass(frozen=True)
class Attribution:
    """What each token of a text adds to a prediction.

    Args:
        token_ids: Int32 array `(time,)`.
        tokens: Their texts.
        target, foil: The id of the token that is predicted, and of the one it is compared with
            or None.
        method: How it was computed; see `attribute`.
        score: What is explained: the target's log-probability in nats, or with a foil the
            difference of the two logits.
        values: Float32 array `(time,)`, in the units of the score; of `"gradient_norm"` per unit
            of the embedding.
    """

    token_ids: np.ndarray
    tokens: list[str]
    target: int
    foil: int | None
    method: str
    score: float
    values: np.ndarray


@dataclasses.dataclass(frozen=True)
class Question:
    """A prediction of a text to be explained.

    Args:
        position: The index of the token after which it is made.
        target: The id of the token that is predicted.
        foil: The id of another one, or None.
    """

    position: int
    target: int
    foil: int | None = None


def attribute(
    model: GPT2Model,
    text: str | Sequence[int],
    target: str | int,
    foil: str | int | None = None,
    method: str = "input_x_gradient",
    *,
    steps: int = 64,
    start_token: bool | None = None,
) -> Attribution:
    """Tells which tokens of a text make a model expect `target` after it.

    Of the embedding of each token (that of its position is left as it is):

    | method | value |
    |---|---|
    | `input_x_gradient` | the embedding times the gradient of the score, summed |
    | `gradient_norm` | the Euclidean norm of the gradient |
    | `integrated_gradients` | the embedding times the mean of the gradients on the way from 0 to the embeddings; the values add up to the score minus that of zero embeddings |
    | `occlusion` | the score minus the one with this token's embedding set to 0 |

    Sources: Denil et al., "Extraction of Salient Sentences from Labelled Documents" (2014);
    Simonyan et al., "Deep Inside Convolutional Networks" (2013); Sundararajan et al., "Axiomatic
    Attribution for Deep Networks" (2017), whose integral is taken here at the midpoints of
    `steps` intervals; Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks"
    (2013). With a foil: Yin and Neubig, "Interpreting Language Models with Contrastive
    Explanations" (2022).

    Args:
        model: The model.
        text: The text; or its ids.
        target: The token to explain: its text, as in `" Paris"`, or its id.
        foil: A token it is compared with: why `target` and not this one? By default none.
        method: One of the four.
        steps: Number of intervals of integrated gradients.
        start_token: As for `explore`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the text is empty or too long, `target` or `foil` is not one token, both
            are the same, or there is no such method.
        NotImplementedError: If Keras runs on another backend than TensorFlow and JAX.

    Example:
        >>> config = GPT2Config(vocab_size=100, context_length=16, num_layers=2,
        ...                     num_heads=2, hidden_dim=8)
        >>> attribute(GPT2LM(config), [1, 2, 3], target=4, foil=5).values.shape
        (3,)
    """  # noqa: E501 -- a table's rows cannot be broken
    check_choice("method", method, METHODS)
    check_integer("steps", steps, minimum=1)
    ids, _ = ids_of(model, text, start_token=start_token)
    target_id = token_of(model, target, "target")
    foil_id = None if foil is None else token_of(model, foil, "foil")
    if foil_id == target_id:
        raise ValueError(
            f"target={target!r} and foil={foil!r} are the same token. A token cannot be compared "
            "with itself. Use another foil."
        )
    question = Question(len(ids) - 1, target_id, foil_id)
    scores, values = attribute_all(model, ids, [question], method, steps)
    tokens, _ = tokens_of(model, ids)
    return Attribution(ids, tokens, target_id, foil_id, method, float(scores[0]), values[0])


def attribute_all(
    model: GPT2Model,
    token_ids: np.ndarray,
    questions: Sequence[Question],
    method: str,
    steps: int = 64,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Attributes several predictions of one text.

    Args:
        model: The model.
        token_ids: Int32 array `(time,)`.
        questions: The predictions.
        method, steps: As for `attribute`.
        on_progress: Called with the number of questions done, and of all.

    Returns:
        The scores, float32 `(questions,)`, and the values, float32 `(questions, time)`; 0 for
        tokens after a prediction.
    """
    scores = np.zeros(len(questions), "float32")
    values = np.zeros((len(questions), len(token_ids)), "float32")
    at_once = 1 if method in ("integrated_gradients", "occlusion") else None
    done = 0
    for chosen in _groups(questions, at_once):
        group = _Predictions(model, token_ids, [questions[index] for index in chosen])
        scores[chosen], values[chosen, : group.time] = _by_method(group, method, steps)
        done += len(chosen)
        if on_progress is not None:
            on_progress(done, len(questions))
    return scores, values


def _groups(questions: Sequence[Question], at_once: int | None) -> Iterator[list[int]]:
    """Yields the indices of questions to be computed together, of about the same positions."""
    order = sorted(range(len(questions)), key=lambda index: questions[index].position)
    group: list[int] = []
    for index in order:
        size = questions[index].position + 1
        fits = (len(group) + 1) * size <= _TOKENS_AT_ONCE
        if group and (len(group) == at_once or not fits):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _by_method(
    predictions: "_Predictions", method: str, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the scores, `(batch,)`, and the values, `(batch, time)`."""
    embeddings = predictions.embeddings  # (batch, time, width)
    if method == "occlusion":
        keep = 1 - np.eye(predictions.time, dtype="float32")
        score = predictions.scores(embeddings)
        occluded = [
            predictions.scores(embeddings * rows[:, :, None])
            for rows in _chunks(keep, _TOKENS_AT_ONCE // predictions.time)
        ]
        return score, (score - np.concatenate(occluded))[None]
    if method == "integrated_gradients":
        total = np.zeros_like(embeddings)
        middles = ((np.arange(steps) + 0.5) / steps).astype("float32")
        for rows in _chunks(middles, _TOKENS_AT_ONCE // predictions.time):
            _, gradients = predictions.gradients(embeddings * rows[:, None, None])
            total += gradients.sum(axis=0)
        return predictions.scores(embeddings), (embeddings * total / steps).sum(axis=2)
    scores, gradients = predictions.gradients(embeddings)
    if method == "gradient_norm":
        return scores, np.linalg.norm(gradients, axis=2)
    return scores, (embeddings * gradients).sum(axis=2)


class _Predictions:
    """Predictions of a text as functions of the embeddings of its tokens.

    Args:
        model: The model.
        token_ids: Int32 array `(time,)`.
        questions: The predictions; one, if it is asked about several rows of embeddings.
    """

    def __init__(
        self, model: GPT2Model, token_ids: np.ndarray, questions: Sequence[Question]
    ) -> None:
        self._model = model
        self.time = 1 + max(each.position for each in questions)
        # What comes after a position changes nothing of its prediction.
        self._ids = np.repeat(token_ids[None, : self.time], len(questions), axis=0)
        self._positions = np.array([each.position for each in questions], "int32")
        self._targets = np.array([each.target for each in questions], "int32")
        foils = [-1 if each.foil is None else each.foil for each in questions]
        self._foils = np.array(foils, "int32")
        embeddings = model.token_embedding(self._ids)
        self.embeddings = ops.convert_to_numpy(ops.cast(embeddings, "float32"))

    def scores(self, embeddings: np.ndarray) -> np.ndarray:
        """Returns the score of each row of embeddings; (batch, time, width) → (batch,)."""
        return np.asarray(ops.convert_to_numpy(self._score(ops.convert_to_tensor(embeddings))))

    def gradients(self, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores, `(batch,)`, and their gradients, `(batch, time, width)`."""
        found = current_kernels().value_and_gradient(self._score, embeddings)
        scores, gradients = map(ops.convert_to_numpy, found)
        return scores, gradients

    def _score(self, embeddings: Any) -> Any:
        model, batch = self._model, embeddings.shape[0]
        own = ops.cast(embeddings, model.compute_dtype)
        ids, positions, targets, foils = (
            np.resize(each, (batch, *each.shape[1:]))
            for each in (self._ids, self._positions, self._targets, self._foils)
        )
        with observing(Observer(model, {"hook_embed": lambda _value, _name: own})):
            _, states = model(ids, num_logits=0, return_hidden_states=True, training=False)
        states = ops.take_along_axis(states[-1], positions[:, None, None], 1)  # (batch, 1, width)
        logits = logits_of(model, states)[:, 0]  # (batch, vocab)
        log_probs = ops.log_softmax(logits, axis=-1)
        with_foil = _of_each(logits, targets) - _of_each(logits, np.maximum(foils, 0))
        return ops.where(foils < 0, _of_each(log_probs, targets), with_foil)


def _of_each(values: Any, index: np.ndarray) -> Any:
    """Returns one value of each row; (batch, vocab), (batch,) → (batch,)."""
    return ops.take_along_axis(values, index[:, None], 1)[:, 0]


def _chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yields rows, at most `size` and at least one at a time."""
    size = max(1, size)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
