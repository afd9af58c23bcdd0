"""Monitors a run: progress bar, TensorBoard, samples."""

import importlib.util
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from gpt2_keras.config import GPT2Config
from gpt2_keras.runs.callbacks import LearningRate, StepTensorBoard, TokensPerSecond
from gpt2_keras.runs.ema import EMAWeights
from gpt2_keras.runs.mfu import Peak, find_peak, flops_per_token
from gpt2_keras.runs.run_directory import RunDirectory
from gpt2_keras.runs.samples import GenerateSamples
from gpt2_keras.runs.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


class Monitoring:
    """Makes the callbacks that monitor a run.

    Args:
        model: The model.
        settings: The settings of the run.
        directory: Its directory.
        ema: Swaps the averaged weights in, if those are evaluated.
        verbose: Whether to write to stderr.
        num_devices: Number of devices that train.
    """

    def __init__(
        self,
        model: "GPT2Model",
        settings: TrainingSettings,
        directory: RunDirectory,
        ema: EMAWeights | None,
        *,
        verbose: bool,
        num_devices: int = 1,
    ) -> None:
        self.model, self.settings, self.directory = model, settings, directory
        self.ema, self.verbose = ema, verbose
        self.peak: Peak = find_peak(
            model.compute_dtype, settings.peak_flops, num_devices=num_devices
        )
        if verbose:
            sys.stderr.write(f"mfu: fraction of {self.peak} that the training uses\n")

    def _flops_per_token(self, config: GPT2Config) -> int:
        distillation = self.model.step_options.distillation
        is_computed = distillation is not None and not distillation.is_stored
        return flops_per_token(config, distillation.teacher.config if is_computed else None)

    def callbacks(
        self, epoch_ends: Mapping[int, int], first_step: int
    ) -> list[keras.callbacks.Callback]:
        """Returns the callbacks of a `fit`, to be placed before those that read the logs.

        Args:
            epoch_ends: The last step of each epoch.
            first_step: Number of steps done before.
        """
        settings = self.settings
        config = settings.window_config(self.model.config)
        tokens_per_step = settings.batch_size * config.context_length
        callbacks: list[keras.callbacks.Callback] = [
            TokensPerSecond(tokens_per_step, self._flops_per_token(config), self.peak.flops),
            LearningRate(),
        ]
        tensorboard = None
        if importlib.util.find_spec("tensorflow"):  # Keras writes the files by it
            tensorboard = StepTensorBoard(str(self.directory.logs), epoch_ends, first_step)
            callbacks.append(tensorboard)
        if settings.sample_prompts:
            samples = GenerateSamples(
                settings.sample_prompts,
                self.directory.samples,
                epoch_ends,
                seed=settings.seed,
                tensorboard=tensorboard,
                ema=self.ema,
                verbose=self.verbose,
            )
            callbacks.append(samples)
        return callbacks
