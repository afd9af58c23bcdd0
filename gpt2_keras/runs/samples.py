"""What a model says while it learns."""

import contextlib
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from gpt2_keras.atomic import new_file

if TYPE_CHECKING:
    from gpt2_keras.runs.callbacks import StepTensorBoard
    from gpt2_keras.runs.ema import AverageWeights

TEMPERATURE = 0.8  # karpathy/nanoGPT sample.py, temperature
_HEADING = "step "


class WriteSamples(keras.callbacks.Callback):
    """Continues prompts after each evaluation, greedily and by a draw.

    The texts go to a file, to TensorBoard and to the terminal. The draw has seeds of
    its own, so that a run with samples learns what it learns without.

    Args:
        prompts: Texts to continue; one too long loses its beginning.
        path: The file. What an earlier part of the run wrote about steps that are
            done anew is replaced.
        steps_after: The step that each epoch ends with.
        seed: Of the draws; the same for each evaluation, so that one can compare.
        tensorboard: Where to show the texts as well.
        averages: What swaps averaged weights in, if those are evaluated.
        verbose: Whether to print the texts.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        path: Path,
        steps_after: Mapping[int, int],
        *,
        seed: int = 0,
        tensorboard: "StepTensorBoard | None" = None,
        averages: "AverageWeights | None" = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        check_can_sample(prompts)
        self.prompts, self.path, self.steps_after = list(prompts), path, steps_after
        self.seed, self.tensorboard, self.averages = seed, tensorboard, averages
        self.verbose = verbose

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Writes the samples of an evaluation."""
        step = self.steps_after[epoch]
        with self.averages.averaged() if self.averages else contextlib.nullcontext():
            text = self._sample()
        entry = f"{_HEADING}{step}\n{textwrap.indent(text, '  ', lambda _: True)}\n"
        before = self._entries_before(step)
        with new_file(self.path) as place:
            place.write_text(before + entry, encoding="utf-8", newline="\n")
        if self.tensorboard is not None:
            self.tensorboard.write_text("samples", text, step)
        if self.verbose:
            sys.stdout.write("\n" + entry)

    def _sample(self) -> str:
        """Returns the prompts, each with both continuations."""
        greedy = self.model.generate(self.prompts, overflow="crop")
        drawn = self.model.generate(
            self.prompts,
            sampler="top_k",
            temperature=TEMPERATURE,
            seed=self.seed,
            overflow="crop",
        )
        pairs = zip(greedy, drawn, strict=True)
        return "\n\n".join(f"greedy:\n{one}\n\ndrawn:\n{other}" for one, other in pairs)

    def _entries_before(self, step: int) -> str:
        """Returns what the file says of earlier steps: texts are indented, headings not."""
        if not self.path.exists():
            return ""
        kept = []
        # Not `splitlines`: a text may hold line ends of other alphabets.
        for line in self.path.read_bytes().decode("utf-8").split("\n"):
            heading = line.removeprefix(_HEADING)
            if line.startswith(_HEADING) and heading.isdecimal() and int(heading) >= step:
                break
            kept.append(line)
        return "\n".join(kept).rstrip("\n") + "\n" if any(kept) else ""


def check_can_sample(prompts: Sequence[str]) -> None:
    """Raises ValueError if there are prompts and Keras' backend cannot continue them."""
    if prompts and keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Samples during training are generated in TensorFlow graphs. "
            f"Received: sample_prompts={list(prompts)!r}, Keras backend "
            f"{keras.backend.backend()!r}. Leave the prompts out, or train on TensorFlow."
        )
