"""What the page shows beyond an exploration: attributions and ablations of every prediction."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.ablation import MODES, ablate_each
from gpt2_keras.understanding.attribution import METHODS, Question, attribute_all
from gpt2_keras.understanding.exploration import Exploration
from gpt2_keras.understanding.texts import token_of, vocabulary_of
from gpt2_keras.validation import check_choice, check_integer

_NUM_CANDIDATES = 5  # without a head
# Tokens that are read for the attributions that are made by default: of all predictions of a
# text of 90 tokens, of the last 16 of one of 256.
_ATTRIBUTED_TOKENS = 4096


@dataclasses.dataclass(frozen=True)
class Panels:
    """Attributions and ablations of a text's predictions.

    The target of a prediction is the token that follows, after the last one the most likely.

    Args:
        method: How attributions were computed; see `attribute`.
        positions: Int32 array `(predictions,)`: the tokens after which predictions are made
            whose attributions are here.
        foils: Int32 array `(time,)`: what each target is compared with.
        attributions: Float32 array `(predictions, time)`: what each token adds to the target's
            log-probability.
        contrasts: Float32 array `(predictions, time)`: what it adds to the difference of the
            target's logit and the foil's.
        mode: What a head gives instead; see `ablate`.
        ablated_log_probs: Float32 array `(layers, heads, time)`: the targets' log-probabilities
            without each head.
        ablated_ids, ablated_probs: Int32 and float32 arrays `(layers, heads, time, k)`: the most
            likely tokens without each head.
    """

    method: str
    positions: np.ndarray
    foils: np.ndarray
    attributions: np.ndarray
    contrasts: np.ndarray
    mode: str
    ablated_log_probs: np.ndarray
    ablated_ids: np.ndarray
    ablated_probs: np.ndarray


def with_panels(
    model: GPT2Model,
    exploration: Exploration,
    *,
    positions: Sequence[int] | None = None,
    foil: str | int | None = None,
    method: str = "input_x_gradient",
    mode: str = "mean",
    on_progress: Callable[[int, int], None] | None = None,
) -> Exploration:
    """Returns an exploration with all that its page can show.

    Args:
        model: The model that was explored.
        exploration: What `explore` returned.
        positions: The tokens after which predictions are made that are attributed: each takes two
            passes forth and back. By default all of a text of 90 tokens, and of a longer one the
            last, as many as take the same time.
        foil: The token that targets are compared with. By default of each the most likely other.
        method: As for `attribute`.
        mode: As for `ablate`: one pass per head.
        on_progress: Called with the number of passes done, and of all.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or out of range.
    """
    check_choice("method", method, METHODS)
    check_choice("mode", mode, MODES)
    ids, time = exploration.token_ids, len(exploration.token_ids)
    targets = targets_of(exploration)
    foils = _foils(model, exploration, targets, foil)
    if positions is None:
        positions = _last_positions(time)
    for index, each in enumerate(positions):
        check_integer(f"positions[{index}]", each, minimum=0, maximum=time - 1)
    num_heads = model.config.num_layers * model.config.num_heads
    total = num_heads + 2 * len(positions)

    def progress(before: int) -> Callable[[int, int], None] | None:
        if on_progress is None:
            return None
        return lambda done, _: on_progress(before + done, total)

    log_probs, best, probs = ablate_each(
        model,
        ids,
        targets,
        mode,
        min(_NUM_CANDIDATES, model.config.vocab_size),
        on_progress=progress(0),
    )
    own = [Question(each, int(targets[each])) for each in positions]
    against = [dataclasses.replace(each, foil=int(foils[each.position])) for each in own]
    _, values = attribute_all(model, ids, own + against, method, on_progress=progress(num_heads))
    attributions, contrasts = values[: len(own)], values[len(own) :]
    where = np.array(positions, "int32")
    panels = Panels(method, where, foils, attributions, contrasts, mode, log_probs, best, probs)
    added = vocabulary_of(model, {*best.ravel().tolist(), *foils.tolist()})
    vocabulary = exploration.vocabulary | added
    return dataclasses.replace(exploration, panels=panels, vocabulary=vocabulary)


def _last_positions(time: int) -> range:
    """Returns the last positions of a text, for which `_ATTRIBUTED_TOKENS` are read.

    Example:
        >>> [len(_last_positions(time)) for time in (1, 90, 256, 1024)]
        [1, 90, 16, 4]
    """
    first, tokens = time, 0
    while first > 0 and tokens + first <= _ATTRIBUTED_TOKENS:
        tokens += first
        first -= 1
    return range(min(first, time - 1), time)


def targets_of(exploration: Exploration) -> np.ndarray:
    """Returns the token that follows each, after the last the most likely, int32 `(time,)`."""
    return np.append(exploration.token_ids[1:], exploration.candidate_ids[-1, 0]).astype("int32")


def _foils(
    model: GPT2Model, exploration: Exploration, targets: np.ndarray, foil: str | int | None
) -> np.ndarray:
    """Returns what each target is compared with, int32 `(time,)`."""
    best = exploration.candidate_ids
    second = best[:, min(1, best.shape[1] - 1)]
    others = np.where(best[:, 0] == targets, second, best[:, 0])
    if foil is not None:
        # Where the target is the foil itself, the most likely other one.
        others = np.where(targets == (own := token_of(model, foil, "foil")), others, own)
    return others.astype("int32")
