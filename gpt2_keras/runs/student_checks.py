"""The check of the settings of a student, which learns from a teacher."""

from typing import TYPE_CHECKING

from gpt2_keras.training.distillation import check_numbers, make_distillation

if TYPE_CHECKING:
    from gpt2_keras.runs.settings import TrainingSettings

SHAPE = ("init", "size", "num_layers", "num_heads", "hidden_dim")


def check_student(settings: "TrainingSettings") -> None:
    """Raises ValueError if the settings of a student do not fit together."""
    given = settings.given(*SHAPE)
    if settings.student_layers is not None and (settings.teacher is None or given):
        reason = "a teacher" if settings.teacher is None else f"no {', '.join(given)} beside it"
        raise ValueError(
            f"student_layers={settings.student_layers!r} names layers of a teacher, and needs "
            f"{reason}. Leave out one or the other."
        )
    if settings.teacher_logits and settings.task is not None:
        raise ValueError(
            f"task={settings.task!r} has no token shards, beside which teacher_logits=True reads "
            "a teacher's logits. Name the teacher alone."
        )
    if settings.is_distillation and settings.task == "classify":
        raise ValueError(
            "task='classify' learns labels, and a teacher of texts has none. Distill the model "
            "first, and train the classifier from it (init)."
        )
    if settings.is_distillation:
        check_numbers(*settings.distillation_numbers, stored=settings.teacher_logits)
    else:
        make_distillation(None, *settings.distillation_numbers)
