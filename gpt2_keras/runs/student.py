"""The teacher of a run, and the student that it begins with."""

from typing import TYPE_CHECKING, Any

from gpt2_keras import checkpoints
from gpt2_keras.compression.student import make_student
from gpt2_keras.compression.teacher_logits import teacher_fingerprint
from gpt2_keras.data.teacher_logits import TeacherLogits
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.training.distillation import STORED

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def load_teacher(
    model_class: "type[GPT2Model]", settings: TrainingSettings, tokenizer: GPT2Tokenizer
) -> "GPT2Model | None":
    """Returns the teacher of a run; None if it has none.

    Raises:
        FileNotFoundError: If it is not there.
        ValueError: If it has another tokenizer than the text.
    """
    if settings.teacher is None:
        return None
    teacher = checkpoints.load(settings.teacher, model_class=model_class, dtype=settings.dtype)
    if teacher.tokenizer is None or teacher.tokenizer.fingerprint != tokenizer.fingerprint:
        size = None if teacher.tokenizer is None else teacher.tokenizer.vocab_size
        raise ValueError(
            f"teacher={settings.teacher!r} has another tokenizer, with a vocabulary of {size}, "
            f"than tokenizer={settings.tokenizer!r}, with one of {tokenizer.vocab_size}. Prepare "
            "the text with the tokenizer of the teacher."
        )
    return teacher


def new_student(teacher: "GPT2Model", settings: TrainingSettings) -> "GPT2Model":
    """Returns the student of a new run: of the layers that the settings name, or every second.

    Raises:
        ValueError: If the teacher lacks a layer.
    """
    num_layers = teacher.config.num_layers
    layers = settings.student_layers
    chosen = max(1, num_layers // 2) if layers is None else layers
    return make_student(teacher, chosen, **settings.given("dropout_rate"))


def check_teacher_logits(
    settings: TrainingSettings, shards: Any, teacher: "GPT2Model | None"
) -> None:
    """Checks the stored logits that a run learns from, if it does.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If they are of other shards, or of another teacher.
    """
    if not settings.teacher_logits:
        return
    logits = TeacherLogits.open(shards)
    if settings.temperature != logits.temperature:
        raise ValueError(
            f"temperature={settings.temperature} is not {logits.temperature}, for which the "
            f"teacher's logits in {shards.directory} were stored. Use "
            f"temperature={logits.temperature}, or store them again."
        )
    if teacher is not None and teacher_fingerprint(teacher) != logits.teacher:
        raise ValueError(
            f"The logits stored in {shards.directory} are those of another teacher than "
            f"teacher={settings.teacher!r}. Store its own by `gpt2-keras prepare --out "
            f"{shards.directory} --teacher {settings.teacher}`, after moving the others away; or "
            "leave out teacher_logits."
        )


def distillation_options(settings: TrainingSettings, teacher: "GPT2Model | None") -> dict[str, Any]:
    """Returns the arguments of `compile` for a student; none of another model."""
    if not settings.is_distillation:
        return {}
    names = ("temperature", "alpha_ce", "alpha_clm", "alpha_cos")
    source = STORED if settings.teacher_logits else teacher
    return {"distill_from": source, **{name: getattr(settings, name) for name in names}}
