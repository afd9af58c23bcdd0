"""The settings of a training run: checked, completed with defaults, as JSON."""

import dataclasses
import json
from typing import Any, Self

from gpt2_keras.config import GPT2Config
from gpt2_keras.json_text import parse_json
from gpt2_keras.runs.setting_checks import CHECKS
from gpt2_keras.runs.student_checks import check_student
from gpt2_keras.training.distillation import (
    ALPHA_CE,
    ALPHA_CLM,
    ALPHA_COS,
    TEMPERATURE,
)
from gpt2_keras.training.optimizer import BETA_2, CLIP_NORM, WEIGHT_DECAY
from gpt2_keras.training.schedule import FINAL_LEARNING_RATE_RATIO
from gpt2_keras.validation import check_integer

SHAPE_FIELDS = ("num_layers", "num_heads", "hidden_dim")
# A model that two CPU cores train in minutes, for those who name no shape.
DEFAULT_SHAPE = {"num_layers": 4, "num_heads": 4, "hidden_dim": 256, "context_length": 128}
DEFAULT_EVALUATIONS = 10


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """The settings of a run, checked; `settings.json` of its directory.

    Args:
        data: Directory of token shards, as `gpt2-keras prepare` writes it; with `task` a file
            of examples.
        tokenizer: Directory of the tokenizer that made them; with `task` of `init`.
        task: A task to learn, one of `TRAINED_TASKS`; by default to continue texts.
        teacher: Model to learn from besides the text, anything that `init` may be. Without `init`
            and a shape the run trains a student of its layers.
        student_layers: The layers of that student, from 0, or how many; by default half.
        teacher_logits: Whether to learn from the teacher's logits stored beside the token
            shards, by `gpt2-keras prepare --teacher`, instead of computing them.
        temperature, alpha_ce, alpha_clm, alpha_cos: With a teacher; as for `GPT2LM.compile`.
        init: Model to start from, anything that `GPT2LM.from_preset` reads; by
            default random weights.
        size: A published size, such as `"gpt2"`; or give the numbers:
        num_layers, num_heads, hidden_dim: The shape; by default 4, 4 and 256.
        context_length: The context of the model, which is the number of tokens per window;
            by default that of the size, or else 128. With `init`, whose context stays, the
            tokens per window alone, by default as many as fit.
        dropout_rate: By default 0.1, or that of `init`.
        steps: Number of batches to train on.
        batch_size: Number of windows per batch.
        learning_rate: The largest one. By default 3e-5 with `init`, 1e-3 for
            models below 50M parameters, 6e-4 for others.
        weight_decay: Fraction of each weight that decays per step, times the
            learning rate.
        warmup_steps: By default a twentieth of the steps, at most 2000.
        schedule: The learning rate after the warm-up: `"cosine"` or `"linear"`
            decay, or `"constant"`.
        final_learning_rate_ratio: Learning rate of the last step as a fraction of
            the largest; without effect if the schedule is `"constant"`.
        beta_2: Decay rate of AdamW's second moment.
        clip_norm: Largest global norm of the gradients; 0 for no limit.
        ema: Decay rate of a moving average of the weights, such as 0.999, that is
            evaluated and kept instead of the weights; None for no average.
        seed: Seed of the weights, the dropout and the order of the windows.
        evaluate_every: Number of steps between evaluations; a checkpoint is
            written before each. By default a tenth of the steps.
        evaluation_batches: Largest number of batches per evaluation. By default
            a quarter of the steps between two, at least 5 and at most 100.
        validation_fraction: Fraction of the tokens, the last ones, to validate on.
            By default the documents that `prepare` chose, or else 0.1.
        patience: Number of evaluations without a better loss after which the run
            stops; 0 for never.
        checkpoint_every: Number of steps between further checkpoints.
        checkpoint_minutes: Minutes between further checkpoints; 0 for never.
        keep_checkpoints: Number of checkpoints to keep, the last ones.
        sample_prompts: Texts to continue after each evaluation, to see what the
            model has learned. They do not change what it learns.
        peak_flops: FLOP/s of the hardware, for the utilization (`mfu`) in the logs;
            by default as `find_peak` knows or measures it.
        accumulation_steps, remat, document_masking: As for `GPT2LM.compile`.
        strategy, model_parallel: The devices to train on; see `open_strategy`.
        dtype: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        jit_compile: Whether XLA compiles the steps. By default as `jit_by_default`.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a value is out of its range or two exclude each other.

    Example:
        >>> TrainingSettings("shards", "tokenizer", steps=500).evaluate_every is None
        True
    """

    data: str
    tokenizer: str
    task: str | None = None
    teacher: str | None = None
    student_layers: int | tuple[int, ...] | None = None
    teacher_logits: bool = False
    temperature: float = TEMPERATURE
    alpha_ce: float = ALPHA_CE
    alpha_clm: float = ALPHA_CLM
    alpha_cos: float = ALPHA_COS
    init: str | None = None
    size: str | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    hidden_dim: int | None = None
    context_length: int | None = None
    dropout_rate: float | None = None
    steps: int = 2000
    batch_size: int = 16
    learning_rate: float | None = None
    weight_decay: float = WEIGHT_DECAY
    warmup_steps: int | None = None
    schedule: str = "cosine"
    final_learning_rate_ratio: float = FINAL_LEARNING_RATE_RATIO
    beta_2: float = BETA_2
    clip_norm: float = CLIP_NORM
    ema: float | None = None
    seed: int = 0
    evaluate_every: int | None = None
    evaluation_batches: int | None = None
    validation_fraction: float | None = None
    patience: int = 5
    checkpoint_every: int | None = None
    checkpoint_minutes: float = 10
    keep_checkpoints: int = 2
    sample_prompts: tuple[str, ...] = ()
    peak_flops: float | None = None
    accumulation_steps: int = 1
    remat: bool | str = False
    document_masking: bool = False
    strategy: str = "auto"
    model_parallel: int = 1
    dtype: str = "float32"
    jit_compile: bool | None = None

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            value = getattr(self, name)
            if value is not None or name in _NEVER_NONE:
                object.__setattr__(self, name, check(name, value))
        origin = "init" if self.init is not None else "size"
        decided = SHAPE_FIELDS if origin == "size" else ("size", *SHAPE_FIELDS)
        shape = [name for name in decided if getattr(self, name) is not None]
        if shape and getattr(self, origin) is not None:
            raise ValueError(
                f"{origin}={getattr(self, origin)!r} decides the shape of the model, and "
                f"{', '.join(f'{name}={getattr(self, name)!r}' for name in shape)} would change "
                "it. Leave out one or the other."
            )
        check_student(self)
        if self.init is None:
            self.model_config(vocab_size=1)  # raises an error if the shape is impossible
        if self.warmup_steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} is not less than steps={self.steps}. "
                "Leave it out for a twentieth of the steps."
            )

    @property
    def is_distillation(self) -> bool:
        """Whether the model learns from a teacher."""
        return self.teacher is not None or self.teacher_logits

    @property
    def trains_student_of_layers(self) -> bool:
        """Whether the model of a new run is made of layers of its teacher."""
        shape = ("init", "size", *SHAPE_FIELDS)
        return self.teacher is not None and not self.given(*shape)

    @property
    def distillation_numbers(self) -> tuple[float, float, float, float]:
        """`temperature`, `alpha_ce`, `alpha_clm` and `alpha_cos`."""
        return self.temperature, self.alpha_ce, self.alpha_clm, self.alpha_cos

    def model_config(self, vocab_size: int) -> GPT2Config:
        """Returns the config of a model that starts from random weights."""
        changes = self.config_changes()
        if self.size is not None:
            return GPT2Config.from_size(self.size, vocab_size=vocab_size, **changes)
        shape = self.given(*SHAPE_FIELDS)
        return GPT2Config(vocab_size=vocab_size, **{**DEFAULT_SHAPE, **shape, **changes})

    def config_changes(self) -> dict[str, Any]:
        """Returns the fields of the config that may be set beside `size` or `init`."""
        return self.given("dropout_rate", *([] if self.init else ["context_length"]))

    def window_config(self, config: GPT2Config) -> GPT2Config:
        """Returns a model's config with the number of tokens per window as its context.

        Raises:
            ValueError: If a window is longer than the context of the model.
        """
        window = self.context_length or config.context_length
        if window > config.context_length:
            raise ValueError(
                f"context_length={window} is more than the {config.context_length} of "
                f"init={self.init!r}, which has no embeddings of later positions. Use at most "
                f"context_length={config.context_length}."
            )
        return dataclasses.replace(config, context_length=window)

    def given(self, *names: str) -> dict[str, Any]:
        """Returns those of the settings that are not None."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def with_defaults(self, **defaults: Any) -> Self:
        """Returns the settings with every None replaced by its default."""
        every = self.evaluate_every or max(1, self.steps // DEFAULT_EVALUATIONS)
        defaults.setdefault("evaluate_every", every)
        # A forward pass costs a third of a step: evaluations then cost a twelfth of the training.
        defaults.setdefault("evaluation_batches", min(100, max(5, every // 4)))
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def extended(self, steps: int) -> Self:
        """Returns the settings of the same run with more steps.

        Raises:
            TypeError: If `steps` is not an integer.
            ValueError: If `steps` is smaller, or the schedule depends on it.
        """
        check_integer("steps", steps, minimum=1)
        if steps < self.steps:
            raise ValueError(
                f"steps={steps} is less than steps={self.steps}, which the run began with. A run "
                f"can be extended, not shortened. Use {self.steps} or more."
            )
        if steps > self.steps and self.schedule != "constant":
            raise ValueError(
                f"steps={steps} extends a run of steps={self.steps} with "
                f"schedule={self.schedule!r}, whose learning rates depend on the number of steps. "
                "Only a run with the constant schedule can be extended. Start a new run from its "
                "model instead (--init)."
            )
        return dataclasses.replace(self, steps=steps)

    def to_json(self) -> str:
        """Returns the settings as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the settings of a JSON text made by `to_json`.

        Raises:
            ValueError: If the text is not a JSON object, or a key is missing or unknown.
        """
        settings = parse_json(text)
        if not isinstance(settings, dict):
            raise ValueError(
                f"The JSON text holds a {type(settings).__name__}, and training settings are an "
                "object. Use the text that `to_json` returns."
            )
        names = [field.name for field in dataclasses.fields(cls)]
        wrong = [f"{name} is missing" for name in names[:2] if name not in settings]
        wrong += [f"{name} is unknown" for name in settings if name not in names]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} among the training settings. Use the text that `to_json` "
                f"returns; the settings are {', '.join(names)}."
            )
        return cls(**settings)


_NEVER_NONE = {
    field.name for field in dataclasses.fields(TrainingSettings) if field.default is not None
}
