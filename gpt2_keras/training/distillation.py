"""The loss of a student that learns from a teacher, on logits that are never all in memory.

Per token it is

    alpha_clm · cross entropy + alpha_ce · temperature² · KL(teacher ‖ student)
    + alpha_cos · (1 - cosine of both last hidden states)

with the softmaxes of the divergence taken of `logits / temperature`. Source: Hinton, Vinyals and
Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2; Sanh et al., "DistilBERT"
(2019), section 3; `step` in huggingface/transformers-research-projects distillation/distiller.py.
"""

import dataclasses
from typing import Any, NamedTuple

from keras import ops

from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.model import GPT2Model
from gpt2_keras.training.chunked_loss import known_targets, loss_sums
from gpt2_keras.validation import check_instance, check_number

STORED = "stored"  # the teacher's logits are in the batches
# huggingface/transformers-research-projects distillation/train.py, the defaults
TEMPERATURE, ALPHA_CE, ALPHA_CLM, ALPHA_COS = 2.0, 0.5, 0.5, 0.0
# The least probability of all other tokens together: float32 sums of 1 are off by some 1e-7.
_LEAST_REST = 1e-9


class StoredLogits(NamedTuple):
    """A teacher's largest logits, of `top_k` tokens and of all others together.

    Int32 `(…, top_k)`, and float `(…, top_k + 1)`: the last one is `temperature` times the log of
    the sum of the others' exponentials of `logits / temperature`.
    """

    token_ids: Any
    logits: Any


@dataclasses.dataclass(frozen=True)
class Distillation:
    """What a student learns from; the arguments of `GPT2LM.compile`.

    Args:
        teacher: A model, or `"stored"`: the batches have the teacher's largest logits.
        temperature: Divides the logits of both in the divergence, above 0.
        alpha_ce, alpha_clm, alpha_cos: Weights, at least 0, of the divergence, the cross entropy
            and the distance of the last hidden states; not all 0.

    Raises:
        TypeError: If an argument is of a wrong type.
        ValueError: If a number is out of its range, or all weights are 0, or hidden states are
            asked of stored logits.
    """

    teacher: Any
    temperature: float = TEMPERATURE
    alpha_ce: float = ALPHA_CE
    alpha_clm: float = ALPHA_CLM
    alpha_cos: float = ALPHA_COS

    def __post_init__(self) -> None:
        if not self.is_stored:
            check_instance("distill_from", self.teacher, GPT2Model, 'a model, or "stored"')
        numbers = (self.temperature, self.alpha_ce, self.alpha_clm, self.alpha_cos)
        check_numbers(*numbers, stored=self.is_stored)

    @property
    def is_stored(self) -> bool:
        """Whether the teacher's logits are in the batches."""
        return isinstance(self.teacher, str) and self.teacher == STORED

    def check(self, student: GPT2Model) -> None:
        """Raises ValueError if the teacher does not fit a student."""
        if self.is_stored:
            return
        if self.teacher is student:
            raise ValueError(
                "distill_from is the student itself, which has nothing to learn from itself. Use "
                "another model, such as the one it was made from."
            )
        ours, theirs = student.config, self.teacher.config
        tokenizers = [it.tokenizer for it in (student, self.teacher) if it.tokenizer is not None]
        differs = len({tokenizer.fingerprint for tokenizer in tokenizers}) > 1
        if ours.vocab_size != theirs.vocab_size or differs:
            raise ValueError(
                f"The teacher has another vocabulary, of {theirs.vocab_size} tokens, than the "
                f"student, with {ours.vocab_size}. Both have the same tokenizer: make the student "
                "from its teacher, by gpt2_keras.finetuning.make_student."
            )
        if ours.context_length > theirs.context_length:
            raise ValueError(
                f"The student has context_length={ours.context_length}, and the teacher of "
                f"context_length={theirs.context_length} cannot read as much. Use at most that."
            )
        if self.alpha_cos and ours.hidden_dim != theirs.hidden_dim:
            raise ValueError(
                f"alpha_cos={self.alpha_cos} compares hidden states of the width "
                f"{ours.hidden_dim} of the student with {theirs.hidden_dim} of the teacher. Use "
                "alpha_cos=0, or a student of that width."
            )

    def loss_sums(
        self,
        states: Any,
        table: Any,
        targets: Any,
        weights: Any,
        *,
        teacher: tuple[Any, Any] | StoredLogits,
        chunk_rows: int | None = None,
    ) -> list[Any]:
        """Returns the weighted sums of the loss and of the cross entropy within it.

        Args:
            states, table, targets, weights, chunk_rows: As for `cross_entropy_sum`.
            teacher: Its last hidden states, `(rows, width)`, and its table, `(vocab, width)`; or
                its largest logits, of that temperature.

        Returns:
            Two float32 scalars, in nats. The second has no gradient.
        """
        stored = isinstance(teacher, StoredLogits)
        soft = [ops.stop_gradient(each) for each in teacher]
        table_of_teacher = None if stored else _padded(soft.pop())

        def objective(logits: Any, vocab_size: int, targets: Any, *soft: Any) -> Any:
            cross_entropies, hard = current_kernels().cross_entropy(logits, targets, vocab_size)
            tokens = logits[:, :vocab_size] / self.temperature
            if stored:
                token_ids, largest = soft
                divergences, gradient = _divergence_of_largest(
                    tokens, token_ids, ops.cast(largest, "float32") / self.temperature
                )
            else:
                theirs = current_kernels().times_transposed_wide(soft[0], table_of_teacher)
                theirs = theirs[:, :vocab_size] / self.temperature
                divergences, gradient = _divergence(tokens, theirs)
            gradient = ops.pad(gradient, ((0, 0), (0, logits.shape[1] - vocab_size)))
            factor = self.alpha_ce * self.temperature
            losses = self.alpha_clm * cross_entropies + factor * self.temperature * divergences
            return (losses, cross_entropies), self.alpha_clm * hard + factor * gradient

        rows = (known_targets(targets, weights), *soft)
        total, cross_entropy = loss_sums(
            objective, states, table, weights, rows, count=2, chunk_rows=chunk_rows
        )
        if self.alpha_cos:
            total = total + self.alpha_cos * _cosine_distances(states, soft[0], weights)
        return [total, cross_entropy]


def check_numbers(
    temperature: float, alpha_ce: float, alpha_clm: float, alpha_cos: float, *, stored: bool
) -> None:
    """Checks the numbers of a distillation, from a model or from stored logits.

    Raises:
        TypeError, ValueError: As `Distillation` says.
    """
    check_number("temperature", temperature, above=0)
    for name, alpha in (("ce", alpha_ce), ("clm", alpha_clm), ("cos", alpha_cos)):
        check_number(f"alpha_{name}", alpha, minimum=0)
    if not (alpha_ce or alpha_clm or alpha_cos):
        raise ValueError(
            "alpha_ce=0, alpha_clm=0, alpha_cos=0 leave no loss. Use at least one above 0."
        )
    if stored and alpha_cos:
        raise ValueError(
            f"alpha_cos={alpha_cos} compares hidden states, and stored logits of a teacher have "
            "none. Use alpha_cos=0, or the teacher itself."
        )


def make_distillation(
    teacher: Any, temperature: float, alpha_ce: float, alpha_clm: float, alpha_cos: float
) -> Distillation | None:
    """Returns the distillation that the arguments of `compile` ask for; None without a teacher.

    Raises:
        TypeError, ValueError: As `Distillation` does; if numbers are given without a teacher.
    """
    given = (temperature, alpha_ce, alpha_clm, alpha_cos)
    if teacher is not None:
        return Distillation(teacher, *given)
    usual = {
        "temperature": TEMPERATURE,
        "alpha_ce": ALPHA_CE,
        "alpha_clm": ALPHA_CLM,
        "alpha_cos": ALPHA_COS,
    }
    for (name, default), value in zip(usual.items(), given, strict=True):
        if value != default:
            raise ValueError(
                f"{name}={value!r} is without effect, as there is no teacher. Use "
                "distill_from=teacher, or leave it out."
            )
    return None


def _padded(table: Any) -> Any:
    """Returns a table with as many rows as the device multiplies best."""
    padding = -table.shape[0] % current_kernels().table_multiple()
    return ops.pad(table, ((0, padding), (0, 0))) if padding else table


def _divergence(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Returns KL(teacher ‖ student) of logits, (rows,), and its gradient, (rows, vocab)."""
    probs, of_teacher = ops.softmax(ours, axis=-1), ops.softmax(theirs, axis=-1)
    difference = ops.sum(of_teacher * (theirs - ours), axis=-1)
    return difference + _log_sum(ours, probs) - _log_sum(theirs, of_teacher), probs - of_teacher


def _divergence_of_largest(ours: Any, token_ids: Any, theirs: Any) -> tuple[Any, Any]:
    """The same, of the largest logits of a teacher and of one of all other tokens together.

    The divergence of these `top_k + 1` probabilities, which is at most that of all tokens. Among
    the other tokens the student's probabilities stay in the proportions that they have.

    Args:
        ours: Float tensor `(rows, vocab)`.
        token_ids: Int tensor `(rows, top_k)`.
        theirs: Float tensor `(rows, top_k + 1)`; -inf where there is no other token.
    """
    probs = ops.softmax(ours, axis=-1)
    exponentials = ops.exp(theirs - ops.max(theirs, axis=-1, keepdims=True))
    of_teacher = exponentials / ops.sum(exponentials, axis=-1, keepdims=True)
    of_token, of_rest = of_teacher[:, :-1], of_teacher[:, -1:]
    at_same = ops.take_along_axis(probs, token_ids, axis=1)  # (rows, top_k)
    rest = ops.maximum(1.0 - ops.sum(at_same, axis=-1, keepdims=True), _LEAST_REST)
    same = ops.concatenate([at_same, rest], axis=-1)  # (rows, top_k + 1)
    terms = of_teacher * (ops.log(_not_0(of_teacher)) - ops.log(_not_0(same)))
    rows, top_k = ops.shape(token_ids)
    row_numbers = ops.repeat(ops.arange(rows, dtype="int32"), top_k)
    indices = ops.stack([row_numbers, ops.reshape(token_ids, (-1,))], axis=1)
    gradient = probs * (1.0 - of_rest / rest)
    gradient = ops.scatter_update(gradient, indices, ops.reshape(at_same - of_token, (-1,)))
    return ops.sum(terms, axis=-1), gradient


def _not_0(probs: Any) -> Any:
    """Returns probabilities that have logarithms in float32."""
    return ops.maximum(probs, 1e-37)


def _log_sum(logits: Any, probs: Any) -> Any:
    """Returns the log of the sum of exponentials, by the largest probability, never 0."""
    return ops.max(logits, axis=-1) - ops.log(ops.max(probs, axis=-1))


def _cosine_distances(ours: Any, theirs: Any, weights: Any) -> Any:
    """Returns the weighted sum of 1 - cosine of two vectors, each (rows, width)."""
    ours, theirs = ops.cast(ours, "float32"), ops.cast(theirs, "float32")
    cosines = ops.sum(ops.normalize(ours, axis=-1) * ops.normalize(theirs, axis=-1), axis=-1)
    return ops.sum((1.0 - cosines) * weights)
