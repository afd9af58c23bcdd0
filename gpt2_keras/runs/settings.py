"""What a training run is told, and what follows from it."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from gpt2_keras.config import GPT2Config
from gpt2_keras.runs.distribution import STRATEGIES
from gpt2_keras.training.optimizer import BETA_2, CLIP_NORM, WEIGHT_DECAY
from gpt2_keras.training.schedule import FINAL_LEARNING_RATE_RATIO, SCHEDULES
from gpt2_keras.validation import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_text,
    check_texts,
)

DTYPES = ("float32", "mixed_bfloat16", "mixed_float16")
SHAPE_FIELDS = ("num_layers", "num_heads", "hidden_dim")
# A model that two CPU cores train in minutes, for those who name no shape.
DEFAULT_SHAPE = {"num_layers": 4, "num_heads": 4, "hidden_dim": 256, "context_length": 128}
DEFAULT_EVALUATIONS = 10


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """The settings of a run, checked; `settings.json` of its directory.

    Args:
        data: Folder of token shards, as `gpt2-keras prepare` writes it.
        tokenizer: Folder of the tokenizer that made them.
        init: Model to start from, anything that `GPT2LM.from_preset` reads; by
            default random weights.
        size: A published size, such as `"gpt2"`; or give the numbers:
        num_layers, num_heads, hidden_dim: The shape; by default 4, 4 and 256.
        context_length: Tokens in a window. By default that of the size or of
            `init`, or else 128.
        dropout_rate: By default 0.1, or that of `init`.
        steps: Number of batches to train on.
        batch_size: Number of windows in a batch.
        learning_rate: The largest one. By default 3e-5 with `init`, 1e-3 for
            models below 50M parameters, 6e-4 for others.
        weight_decay: Share of the weights that decays, times the learning rate.
        warmup_steps: By default a twentieth of the steps, at most 2000.
        schedule: How the rate runs after the warm-up: `"cosine"` or `"linear"`,
            down to a fraction, or `"constant"`.
        final_learning_rate_ratio: That fraction, reached at the last step.
        beta_2: Memory of AdamW for the squared gradients.
        clip_norm: Largest global norm of the gradients; 0 for no limit.
        ema: Memory of a moving average of the weights, such as 0.999, that is
            evaluated and kept instead of the weights; None for no average.
        seed: Of the weights, the dropout and the order of the windows.
        evaluate_every: Number of steps between evaluations, before each of
            which the run is saved. By default a tenth of the steps.
        evaluation_batches: Largest number of batches of an evaluation. By default
            a quarter of the steps between two, at least 5 and at most 100.
        validation_fraction: Share of the tokens, the last ones, to validate on. By
            default the documents that `prepare` chose, or else 0.1.
        patience: After how many evaluations without a better loss to stop; 0
            for never.
        checkpoint_every: Number of steps after which the run is saved as well.
        checkpoint_minutes: Minutes after which the run is saved as well; 0 for
            never.
        keep_checkpoints: Number of saved states to keep, the last ones.
        sample_prompts: Texts to continue after each evaluation, to see what the
            model has learned. They change nothing of what it learns.
        peak_flops: FLOP/s of the hardware, for the utilisation (`mfu`) in the logs;
            by default as `find_peak` knows or measures it.
        accumulation_steps, remat, document_masking: As for `GPT2LM.compile`.
        strategy, model_parallel: Which devices train; see `open_strategy`.
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
    remat: bool = False
    document_masking: bool = False
    strategy: str = "auto"
    model_parallel: int = 1
    dtype: str = "float32"
    jit_compile: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.sample_prompts, list):  # as JSON has it
            object.__setattr__(self, "sample_prompts", tuple(self.sample_prompts))
        for name, rule in _RULES.items():
            value = getattr(self, name)
            if value is not None or name in _ALWAYS_GIVEN:
                rule(name, value)
        origin = "init" if self.init is not None else "size"
        decided = SHAPE_FIELDS if origin == "size" else ("size", *SHAPE_FIELDS, "context_length")
        shape = [name for name in decided if getattr(self, name) is not None]
        if shape and getattr(self, origin) is not None:
            raise ValueError(
                f"`{origin}` decides the shape of the model, and no other setting may. "
                f"Received: {origin}={getattr(self, origin)!r} "
                f"and {', '.join(f'{name}={getattr(self, name)!r}' for name in shape)}. "
                "Leave out one or the other."
            )
        if self.warmup_steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(
                "`warmup_steps` must be below `steps`. "
                f"Received: warmup_steps={self.warmup_steps}, steps={self.steps}. "
                "Leave it out for a twentieth of the steps."
            )

    def model_config(self, vocab_size: int) -> GPT2Config:
        """Returns the shape of a model that starts from random weights."""
        changes = self.config_changes()
        if self.size is not None:
            return GPT2Config.from_size(self.size, vocab_size=vocab_size, **changes)
        shape = {name: getattr(self, name) or DEFAULT_SHAPE[name] for name in SHAPE_FIELDS}
        shape["context_length"] = DEFAULT_SHAPE["context_length"]
        return GPT2Config(vocab_size=vocab_size, **{**shape, **changes})

    def config_changes(self) -> dict[str, Any]:
        """Returns the fields of a config that are set here whatever the shape."""
        changes = {"context_length": self.context_length, "dropout_rate": self.dropout_rate}
        return {name: value for name, value in changes.items() if value is not None}

    def with_defaults(self, **defaults: Any) -> Self:
        """Returns the settings with what is None filled in."""
        every = self.evaluate_every or max(1, self.steps // DEFAULT_EVALUATIONS)
        defaults.setdefault("evaluate_every", every)
        # A batch forward costs a third of a step: this way evaluations cost a twelfth.
        defaults.setdefault("evaluation_batches", min(100, max(5, every // 4)))
        missing = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)

    def extended(self, steps: int) -> Self:
        """Returns the settings of a run that goes on for more steps.

        Raises:
            ValueError: If `steps` is smaller, or the schedule depends on it.
        """
        if steps < self.steps:
            raise ValueError(
                "A run can be extended, not shortened. "
                f"Received: steps={steps}, after steps={self.steps}. Use {self.steps} or more."
            )
        if steps > self.steps and self.schedule != "constant":
            raise ValueError(
                "Only a run with the constant schedule can be extended: the rate of the steps "
                "that are done depends on how many there are. "
                f"Received: steps={steps}, after steps={self.steps} with "
                f"schedule={self.schedule!r}. Start a new run from its model instead (--init)."
            )
        return dataclasses.replace(self, steps=steps)

    def to_json(self) -> str:
        """Returns the settings as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns the settings of a JSON text made by `to_json`.

        Raises:
            ValueError: If the text is not a JSON object or a key is no setting.
        """
        fields = json.loads(text)
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(fields, dict) or not {"data", "tokenizer"} <= set(fields) <= set(names):
            raise ValueError(
                "Training settings are a JSON object of `data`, `tokenizer` and any of "
                f"{', '.join(names[2:])}. "
                f"Received: {', '.join(fields) if isinstance(fields, dict) else text[:50]!r}. "
                "Use the text that `to_json` makes."
            )
        return cls(**fields)


# Rules of the shape itself are those of `GPT2Config`.
_RULES: dict[str, Callable[[str, Any], object]] = {
    "data": check_text,
    "tokenizer": check_text,
    "init": check_text,
    "size": check_text,
    "steps": partial(check_integer, minimum=1),
    "batch_size": partial(check_integer, minimum=1),
    "learning_rate": partial(check_number, above=0),
    "weight_decay": partial(check_number, minimum=0),
    "warmup_steps": partial(check_integer, minimum=0),
    "final_learning_rate_ratio": partial(check_number, minimum=0, below=1),
    "beta_2": partial(check_number, minimum=0, below=1),
    "clip_norm": partial(check_number, minimum=0),
    "ema": partial(check_number, above=0, below=1),
    "seed": partial(check_integer, minimum=0),
    "evaluate_every": partial(check_integer, minimum=1),
    "evaluation_batches": partial(check_integer, minimum=1),
    "validation_fraction": partial(check_number, above=0, below=1),
    "patience": partial(check_integer, minimum=0),
    "checkpoint_every": partial(check_integer, minimum=1),
    "checkpoint_minutes": partial(check_number, minimum=0),
    "keep_checkpoints": partial(check_integer, minimum=1),
    "sample_prompts": check_texts,
    "peak_flops": partial(check_number, above=0),
    "schedule": partial(check_choice, choices=SCHEDULES, advice="Use cosine if in doubt."),
    "accumulation_steps": partial(check_integer, minimum=1),
    "remat": check_flag,
    "document_masking": check_flag,
    "strategy": partial(check_choice, choices=STRATEGIES, advice="Use auto if in doubt."),
    "model_parallel": partial(check_integer, minimum=1),
    "dtype": partial(
        check_choice, choices=DTYPES, advice="Use mixed_bfloat16 on hardware that has it."
    ),
}
_ALWAYS_GIVEN = {
    field.name
    for field in dataclasses.fields(TrainingSettings)
    if field.default is dataclasses.MISSING or field.default is not None
}
