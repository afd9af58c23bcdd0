"""What a run will cost, before it begins."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.config import GPT2Config
from gpt2_keras.runs.callbacks import TokensPerSecond
from gpt2_keras.runs.distribution import open_strategy
from gpt2_keras.runs.mfu import Peak, find_peak, flops_per_token
from gpt2_keras.runs.settings import TrainingSettings
from gpt2_keras.runs.setup import (
    compile_model,
    make_datasets,
    new_model,
    open_data,
    resolve,
)
from gpt2_keras.training.loss import CHUNK_BYTES

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


def parameters_by_part(config: GPT2Config) -> dict[str, int]:
    """Returns how many trained numbers each part of a model has.

    Example:
        >>> sum(parameters_by_part(GPT2Config.gpt2()).values())
        124439808
    """
    width, inner, layers = config.hidden_dim, config.feed_forward_dim, config.num_layers
    learned = config.position_embedding == "learned"
    return {
        "token embeddings": config.vocab_size * width,
        "positions": config.context_length * width if learned else 0,
        "attention": layers * (4 * width * width + 4 * width),
        "feed-forward": layers * (2 * width * inner + inner + width),
        "norms": layers * 4 * width + 2 * width,
    }


def estimate_memory(
    config: GPT2Config,
    batch_size: int,
    dtype: str,
    *,
    averages: bool = False,
    accumulation_steps: int = 1,
    remat: bool = False,
) -> dict[str, int]:
    """Returns how many bytes a training step needs at least, by what they hold.

    Weights, gradients and AdamW's two moments are float32, 4 bytes a weight each;
    mixed precision adds copies in 16 bits. What a block keeps for the backward pass
    is 17 H + 2.5 A T numbers a token (width H, A heads, T tokens of context) in the
    type the model computes in. Source: equation 1 of "Reducing Activation
    Recomputation in Large Transformer Models" (Korthikanti et al., 2022), which
    counts 34 H + 5 A T bytes for 16-bit numbers. With `remat` that is so of one
    block at a time; the others keep their input. A batch in parts keeps a part's
    activations, and its gradients beside the sum of all. Logits are computed some
    rows at a time, see `cross_entropy_sum`: they, their slopes and the softmax.
    A backend needs more for itself, and for what it has not yet let go.

    Args:
        config: The shape of the model.
        batch_size: Windows in a batch.
        dtype: The Keras dtype policy.
        averages: Whether averages of the weights are kept.
        accumulation_steps, remat: As for `GPT2LM.compile`.

    Example:
        >>> estimate_memory(GPT2Config.gpt2(), 1, "float32")["weights"] / 4
        124439808.0
    """
    weights = config.num_parameters
    tokens = -(-batch_size // accumulation_steps) * config.context_length
    is_mixed = dtype != "float32"
    kept = 17 * config.hidden_dim + 2.5 * config.num_heads * config.context_length
    layers = config.num_layers
    numbers = kept + layers * config.hidden_dim if remat else layers * kept  # a token
    logits = min(CHUNK_BYTES, 4 * tokens * config.vocab_size)
    return {
        "weights": 4 * weights,
        "gradients": 4 * weights * (1 if accumulation_steps == 1 else 2),
        "moments": 8 * weights,
        "averages": 4 * weights if averages else 0,
        "copies in 16 bits": 2 * weights if is_mixed else 0,
        "activations": round(tokens * numbers * (2 if is_mixed else 4)),
        "logits": 3 * logits,
    }


TIMED_STEPS = 2
# Steps are only run where all of them should take no longer, at a third of the full speed.
LONGEST_TIMING = 60.0
_EVALUATION_SHARE = 1 / 3  # of a step: the forward pass of three passes' worth


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run will cost.

    Args:
        parameters: Trained numbers, by part of the model.
        memory: Bytes of a device, by what they hold; see `estimate_memory`.
        flops_per_token: FLOPs of training on a token; see `flops_per_token`.
        tokens_per_step: Tokens of a batch.
        steps: Number of steps.
        training_tokens: Tokens of the data to train on.
        evaluation_batches: Batches of all evaluations together.
        seconds_per_step: Time of a step.
        timing: How that is known.
        peak: The full speed of the hardware.
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
        """Number of trained numbers."""
        return sum(self.parameters.values())

    @property
    def memory_bytes(self) -> int:
        """What all of `memory` takes."""
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
        """How many times the run goes through the data."""
        return self.tokens / self.training_tokens

    @property
    def tokens_per_second(self) -> float:
        """Speed of the training."""
        return self.tokens_per_step / self.seconds_per_step

    @property
    def mfu(self) -> float:
        """Share of the hardware's full speed that the training uses."""
        return self.flops_per_step / self.seconds_per_step / self.peak.flops

    @property
    def evaluation_seconds(self) -> float:
        """Time of the evaluations."""
        return self.evaluation_batches * self.seconds_per_step * _EVALUATION_SHARE

    @property
    def seconds(self) -> float:
        """Time of the whole run, evaluations included."""
        return self.steps * self.seconds_per_step + self.evaluation_seconds

    def to_dict(self) -> dict[str, Any]:
        """Returns fields and figures as a plain dictionary."""
        names = (
            "num_parameters",
            "memory_bytes",
            "flops_per_step",
            "tokens",
            "epochs",
            "tokens_per_second",
            "mfu",
            "evaluation_seconds",
            "seconds",
        )
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in names}}


def estimate_run(settings: TrainingSettings, *, model_class: "type[GPT2Model]") -> Estimate:
    """Estimates what a run will cost; writes nothing.

    Its time is that of two real steps, after one that compiles, where three steps
    should take less than a minute here; else the least that the FLOPs allow, by
    `settings.peak_flops` if that is given: so for a run on other hardware.

    Sets the random seeds, as `train` does.

    Args:
        settings: Those of the run.
        model_class: `GPT2LM` or a subclass.

    Raises:
        FileNotFoundError, ValueError: As for `train`.
    """
    strategy = open_strategy(settings.strategy, settings.model_parallel)
    shards, tokenizer = open_data(settings)
    model = None
    if settings.init is None:
        config = settings.model_config(tokenizer.vocab_size)
    else:
        with strategy.building():
            model = new_model(model_class, settings, tokenizer)
        config = model.config
    compute_dtype = keras.DTypePolicy(settings.dtype).compute_dtype
    peak = find_peak(compute_dtype, settings.peak_flops, num_devices=strategy.num_devices)
    tokens_per_step = settings.batch_size * config.context_length
    seconds = flops_per_token(config) * tokens_per_step / peak.flops
    timing = "the full one of the hardware; a real run takes longer"
    own_peak = find_peak(compute_dtype, num_devices=strategy.num_devices)
    own_seconds = flops_per_token(config) * tokens_per_step / own_peak.flops
    if 3 * (1 + TIMED_STEPS) * own_seconds < LONGEST_TIMING:
        keras.utils.set_random_seed(settings.seed)
        with strategy.building():
            model = new_model(model_class, settings, tokenizer) if model is None else model
            resolved = resolve(settings, model)
            compile_model(model, resolved)
        train_data, _ = make_datasets(resolved, shards, model, 0, strategy)
        with strategy.running():
            history = model.fit(
                train_data,
                steps_per_epoch=1 + TIMED_STEPS,
                verbose=0,
                shuffle=False,
                callbacks=[TokensPerSecond(tokens_per_step)],
            ).history
        seconds = tokens_per_step / max(1, history["tokens_per_second"][0])
        timing = f"that of {TIMED_STEPS} real steps on this machine"
    filled = settings.with_defaults()
    evaluations = math.ceil(settings.steps / (filled.evaluate_every or settings.steps))
    training, validation = (len(part) for part in shards.split(settings.validation_fraction))
    batches = min(filled.evaluation_batches or 1, max(1, validation // tokens_per_step))
    return Estimate(
        parameters=parameters_by_part(config),
        memory=estimate_memory(
            config,
            settings.batch_size // strategy.num_replicas,
            settings.dtype,
            averages=settings.ema is not None,
            accumulation_steps=settings.accumulation_steps,
            remat=settings.remat,
        ),
        flops_per_token=flops_per_token(config),
        tokens_per_step=tokens_per_step,
        steps=settings.steps,
        training_tokens=training,
        evaluation_batches=evaluations * batches,
        seconds_per_step=seconds,
        timing=timing,
        peak=peak,
    )
