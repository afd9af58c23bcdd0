"""What a run shows while it goes on."""

import importlib.util
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from gpt2_keras.runs.callbacks import LearningRate, StepTensorBoard, TokensPerSecond
from gpt2_keras.runs.ema import AverageWeights
from gpt2_keras.runs.mfu import Peak, find_peak, flops_per_token
from gpt2_keras.runs.run_directory import RunDirectory
from gpt2_keras.runs.samples import WriteSamples
from gpt2_keras.runs.settings import TrainingSettings

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model


class Display:
    """Makes the callbacks that show a run: progress bar, TensorBoard, samples.

    Args:
        model: The model.
        settings: Those of the run.
        run: Its directory.
        averages: What swaps averaged weights in, if those are evaluated.
        verbose: Whether anything goes to the terminal.
        num_devices: How many devices train.
    """

    def __init__(
        self,
        model: "GPT2Model",
        settings: TrainingSettings,
        run: RunDirectory,
        averages: AverageWeights | None,
        *,
        verbose: bool,
        num_devices: int = 1,
    ) -> None:
        self.model, self.settings, self.run = model, settings, run
        self.averages, self.verbose = averages, verbose
        self.peak: Peak = find_peak(
            model.compute_dtype, settings.peak_flops, num_devices=num_devices
        )
        if verbose:
            sys.stdout.write(f"mfu: the share of {self.peak} that the training uses\n")

    def callbacks(
        self, steps_after: Mapping[int, int], first_step: int
    ) -> list[keras.callbacks.Callback]:
        """Returns the callbacks of a `fit`, to stand before those that read the logs.

        Args:
            steps_after: The step that each epoch ends with.
            first_step: Number of steps done before.
        """
        settings, config = self.settings, self.model.config
        tensorboard = None
        if importlib.util.find_spec("tensorflow"):  # Keras writes the files by it
            tensorboard = StepTensorBoard(str(self.run.logs), steps_after, first_step)
        callbacks: list[keras.callbacks.Callback] = [
            TokensPerSecond(
                settings.batch_size * config.context_length,
                flops_per_token(config),
                self.peak.flops,
            ),
            LearningRate(),
            *([tensorboard] if tensorboard else []),
        ]
        if settings.sample_prompts:
            samples = WriteSamples(
                settings.sample_prompts,
                self.run.samples,
                steps_after,
                seed=settings.seed,
                tensorboard=tensorboard,
                averages=self.averages,
                verbose=self.verbose,
            )
            callbacks.append(samples)
        return callbacks
