"""Generates samples during training, after each evaluation."""

import contextlib
import functools
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.atomic import new_file

if TYPE_CHECKING:
    from gpt2_keras.runs.callbacks import StepTensorBoard
    from gpt2_keras.runs.ema import EMAWeights

TEMPERATURE = 0.8  # karpathy/nanoGPT sample.py, temperature
_HEADING = "step "


class GenerateSamples(keras.callbacks.Callback):
    """Continues prompts after each evaluation, greedily and by sampling.

    The texts go to a file, to TensorBoard and to stderr. The sampling has its own seed:
    the weights are those of a run without samples.

    Args:
        prompts: Texts to continue; of one too long for the context the beginning is dropped.
        path: The file. Entries of steps that are repeated after a resume are replaced.
        epoch_ends: The last step of each epoch.
        seed: Seed of the sampling; the same after each evaluation, for comparison.
        tensorboard: Writes the texts for TensorBoard as well; None for not at all.
        ema: Swaps the averaged weights in, if those are evaluated.
        verbose: Whether to write the texts to stderr.

    Raises:
        ValueError: As `check_can_sample` does.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        path: Path,
        epoch_ends: Mapping[int, int],
        *,
        seed: int = 0,
        tensorboard: "StepTensorBoard | None" = None,
        ema: "EMAWeights | None" = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        check_can_sample(prompts)
        self.prompts, self.path, self.epoch_ends = list(prompts), path, epoch_ends
        self.seed, self.tensorboard, self.ema, self.verbose = seed, tensorboard, ema, verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Writes the samples of an evaluation."""
        step = self.epoch_ends[epoch]
        with self.ema.averaged() if self.ema else contextlib.nullcontext():
            text = self._sample()
        entry = f"{_HEADING}{step}\n{textwrap.indent(text, '  ', lambda _: True)}\n"
        before = self._entries_before(step)
        with new_file(self.path) as file:
            file.write_text(before + entry, encoding="utf-8", newline="\n")
        if self.tensorboard is not None:
            self.tensorboard.write_text("samples", text, step)
        if self.verbose:
            sys.stderr.write("\n" + entry)

    def _sample(self) -> str:
        """Returns the prompts, each with both continuations."""
        generate = functools.partial(self.model.generate, self.prompts, on_overflow="truncate")
        sampled = generate(sampler="top_k", temperature=TEMPERATURE, seed=self.seed)
        pairs = zip(generate(), sampled, strict=True)
        return "\n\n".join(f"greedy:\n{one}\n\nsampled:\n{other}" for one, other in pairs)

    def _entries_before(self, step: int) -> str:
        """Returns the entries of earlier steps in the file: texts are indented, headings not."""
        if not self.path.exists():
            return ""
        kept = []
        # Not `splitlines`: a text may hold the line ends that Unicode adds.
        for line in self.path.read_bytes().decode("utf-8").split("\n"):
            heading = line.removeprefix(_HEADING)
            if line.startswith(_HEADING) and heading.isdecimal() and int(heading) >= step:
                break
            kept.append(line)
        return "\n".join(kept).rstrip("\n") + "\n" if any(kept) else ""


def check_can_sample(prompts: Sequence[str]) -> None:
    """Raises ValueError if there are prompts and several processes train on JAX."""
    if not prompts or keras.backend.backend() != "jax":
        return
    import jax

    if (processes := jax.process_count()) > 1:
        raise ValueError(
            f"sample_prompts={list(prompts)!r} are continued by one process, and {processes} "
            "train on JAX. Leave the prompts out, and generate from a checkpoint."
        )
