"""Estimates what a run will cost before it begins: memory, FLOPs, time."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.config import GPT2Config
from gpt2_keras.layers.kernels import current_kernels
from gpt2_keras.layers.remat import PRODUCTS
from gpt2_keras.runs.callbacks import TokensPerSecond
from gpt2_keras.runs.distribution import open_strategy
from gpt2_keras.runs.mfu import Peak, find_peak, flops_per_token
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.setup import compile_model, make_datasets, new_model, open_data, resolve
from gpt2_keras.runs.student import check_teacher_logits, load_teacher

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model

TIMED_STEPS = 2
# Steps are timed only if all of them should take less, at a third of the full speed.
LONGEST_TIMING_SECONDS = 60.0
_EVALUATION_FRACTION = 1 / 3  # of a step's time: a backward pass costs two forward passes


@dataclasses.dataclass(frozen=True)
class CostEstimate:
    """The estimated cost of a run.

    Args:
        parameters: Number of parameters by part of the model.
        memory: Bytes per device by what they hold; see `estimate_memory`.
        flops_per_token: FLOPs of training on one token; see `flops_per_token`.
        tokens_per_step: Tokens per batch.
        steps: Number of steps.
        training_tokens: Tokens of the training data.
        evaluation_batches: Batches of all evaluations together.
        seconds_per_step: Time of a step.
        timing: How that time was found.
        peak: The peak FLOP/s of the hardware.
    """

    parameters: dict[str, int]
    memory: dict[str, int]
    flops_per_token: int
    tokens_per_step: int
    steps: int
    training_tokens: int
    evaluation_batches: int
    seconds_per_step: float
    timing: str
    peak: Peak

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the whole model."""
        return sum(self.parameters.values())

    @property
    def memory_bytes(self) -> int:
        """Bytes of all of `memory`."""
        return sum(self.memory.values())

    @property
    def flops_per_step(self) -> int:
        """FLOPs of a step."""
        return self.flops_per_token * self.tokens_per_step

    @property
    def tokens(self) -> int:
        """Tokens of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def epochs(self) -> float:
        """Number of passes over the training data."""
        return self.tokens / self.training_tokens

    @property
    def tokens_per_second(self) -> float:
        """Speed of the training."""
        return self.tokens_per_step / self.seconds_per_step

    @property
    def mfu(self) -> float:
        """Fraction of the peak FLOP/s that the training uses."""
        return self.flops_per_step / self.seconds_per_step / self.peak.flops

    @property
    def evaluation_seconds(self) -> float:
        """Time of the evaluations."""
        return self.evaluation_batches * self.seconds_per_step * _EVALUATION_FRACTION

    @property
    def seconds(self) -> float:
        """Time of the whole run, evaluations included."""
        return self.steps * self.seconds_per_step + self.evaluation_seconds

    def to_dict(self) -> dict[str, Any]:
        """Returns fields and properties as a plain dictionary."""
        names = [name for name, member in vars(type(self)).items() if isinstance(member, property)]
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in names}}


def estimate_run(settings: TrainingSettings, *, model_class: "type[GPT2Model]") -> CostEstimate:
    """Returns what a run will cost; writes nothing.

    The time is that of two real steps, after one that compiles, where three steps
    should take less than a minute on this machine; else the least time that the FLOPs
    allow, by `settings.peak_flops` if that is given, as for a run on other hardware.

    Sets the random seeds, as `train` does.

    Args:
        settings: The settings of the run.
        model_class: `GPT2LM` or a subclass.

    Raises:
        FileNotFoundError, ValueError: As for `train`.
    """
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    shards, tokenizer = open_data(settings)
    model = teacher = None
    if settings.is_distillation:
        with strategy.building():
            teacher = load_teacher(model_class, settings, tokenizer)
    check_teacher_logits(settings, shards, teacher)
    if settings.init is None and not settings.trains_student_of_layers:
        config = settings.model_config(tokenizer.vocab_size)
    else:
        with strategy.building():
            model = new_model(model_class, settings, tokenizer, teacher)
        config = model.config
    compute_dtype = keras.DTypePolicy(settings.dtype).compute_dtype
    peak = find_peak(compute_dtype, settings.peak_flops, num_devices=strategy.num_devices)
    own_peak = find_peak(compute_dtype, num_devices=strategy.num_devices)
    windows = settings.window_config(config)
    tokens_per_step = settings.batch_size * windows.context_length
    computing = None if teacher is None or settings.teacher_logits else teacher.config
    flops = flops_per_token(windows, computing)
    flops_per_step = flops * tokens_per_step
    if 3 * (1 + TIMED_STEPS) * flops_per_step / own_peak.flops < LONGEST_TIMING_SECONDS:
        keras.utils.set_random_seed(settings.seed)
        with strategy.building():
            model = new_model(model_class, settings, tokenizer) if model is None else model
            resolved = resolve(settings, model)
            compile_model(model, resolved, teacher)
        train_data, _ = make_datasets(resolved, shards, model, 0, strategy)
        with strategy.running():
            seconds = _seconds_per_step(model, train_data, tokens_per_step)
        timing = f"that of {TIMED_STEPS} real steps on this machine"
    else:
        seconds = flops_per_step / peak.flops
        timing = "the full one of the hardware; a real run takes longer"
    training, validation = (len(part) for part in shards.split(settings.validation_fraction))
    if settings.task is not None:  # of examples, each of which fills a window
        training, validation = (each * windows.context_length for each in (training, validation))
    return CostEstimate(
        parameters=config.parameters_by_part(),
        memory=estimate_memory(
            windows,
            settings.batch_size // strategy.num_replicas,
            settings.dtype,
            ema=settings.ema is not None,
            accumulation_steps=settings.accumulation_steps,
            remat=settings.remat,
            teacher=computing,
        ),
        flops_per_token=flops,
        tokens_per_step=tokens_per_step,
        steps=settings.steps,
        training_tokens=training,
        evaluation_batches=_evaluation_batches(settings, validation // tokens_per_step),
        seconds_per_step=seconds,
        timing=timing,
        peak=peak,
    )


def _seconds_per_step(model: "GPT2Model", train_data: Any, tokens_per_step: int) -> float:
    """Returns the measured time of a training step, without the first one, which compiles."""
    speed, steps = TokensPerSecond(tokens_per_step), 1 + TIMED_STEPS
    history = model.fit(
        train_data, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[speed]
    ).history
    return tokens_per_step / max(1, history["tokens_per_second"][0])


def _evaluation_batches(settings: TrainingSettings, available: int) -> int:
    """Returns the number of batches of all evaluations, of so many validation batches."""
    filled = settings.with_defaults()
    evaluations = math.ceil(settings.steps / (filled.evaluate_every or settings.steps))
    return evaluations * min(filled.evaluation_batches or 1, max(1, available))


def estimate_memory(
    config: GPT2Config,
    batch_size: int,
    dtype: str,
    *,
    ema: bool = False,
    accumulation_steps: int = 1,
    remat: bool | str = False,
    teacher: GPT2Config | None = None,
) -> dict[str, int]:
    """Returns how many bytes a training step needs at least, by what they hold.

    Weights, gradients and AdamW's two moments are float32, 4 bytes per weight each;
    mixed precision adds copies in 16 bits. A block keeps 17 H + 2.5 A T numbers per
    token for the backward pass (width H, A heads, T tokens of context), in the dtype
    the model computes in. Source: equation 1 of "Reducing Activation Recomputation in
    Large Transformer Models" (Korthikanti et al., 2022), which counts 34 H + 5 A T bytes
    for 16-bit numbers. With `remat` one block at a time keeps them; the others keep their
    input, with `"products"` also the results of their linear maps but the last, 9 H in all.
    With micro-batches the activations are those of one of them, and its gradients are held
    beside the sum of all. Logits are computed in chunks of rows, see `cross_entropy_sum`:
    they, their gradient and the softmax. A backend needs more for
    itself, and for what it has not yet freed.

    Args:
        config: The config of the model.
        batch_size: Windows per batch.
        dtype: The Keras dtype policy.
        ema: Whether a moving average of the weights is kept.
        accumulation_steps, remat: As for `GPT2LM.compile`.
        teacher: The config of a teacher that computes in each step: its weights, and logits
            beside the student's.

    Example:
        >>> estimate_memory(GPT2Config.gpt2(), 1, "float32")["weights"] / 4
        124439808.0
    """
    weights, layers = config.num_parameters, config.num_layers
    tokens = -(-batch_size // accumulation_steps) * config.context_length
    is_mixed = dtype != "float32"
    per_block = 17 * config.hidden_dim + 2.5 * config.num_heads * config.context_length
    kept = {False: per_block, True: config.hidden_dim, PRODUCTS: 9 * config.hidden_dim}[remat]
    per_token = layers * kept + (per_block if remat else 0)
    rows = min(tokens, current_kernels().loss_rows(config.vocab_size))
    logits = 4 * rows * config.vocab_size
    return {
        "weights": 4 * weights,
        "gradients": 4 * weights * (1 if accumulation_steps == 1 else 2),
        "moments": 8 * weights,
        "averages": 4 * weights if ema else 0,
        "copies in 16 bits": 2 * weights if is_mixed else 0,
        "activations": round(tokens * per_token * (2 if is_mixed else 4)),
        "logits": 3 * logits * (1 if teacher is None else 2),
        "teacher": 0 if teacher is None else (6 if is_mixed else 4) * teacher.num_parameters,
    }
