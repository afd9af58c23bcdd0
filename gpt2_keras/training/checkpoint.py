"""The state of a training after a step: all that the next step depends on."""

import dataclasses
import json
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras import ops

from gpt2_keras.atomic import new_directory, new_file
from gpt2_keras.config import GPT2Config
from gpt2_keras.training.progress import Progress

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2LM

# Keras' own format, written once and not compressed: weights, and all of the optimizer's
# variables. Keras leaves the state of the dropout and of the metrics out of it.
WEIGHTS_FILE = "state.weights.h5"
PROGRESS_FILE = "progress.json"
_BLOCK = 2**22  # bytes read at a time


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A directory with the state of a training after a step.

    The model's weights, the optimizer's variables (the step of the schedule, the
    moments, averaged weights, the scale of the loss), the random state of the
    dropout, the sums of the metrics since the last evaluation, and the history.
    The position in the data is the step.

    Args:
        path: The directory.
    """

    path: Path

    @property
    def progress(self) -> Progress:
        """How far the training had come."""
        state = self._read()
        return Progress(tuple(state["history"]), state["step"], state["skipped"])

    @property
    def config(self) -> GPT2Config:
        """The shape of the model."""
        return GPT2Config.from_dict(self._read()["config"])

    @property
    def metrics(self) -> list[Any]:
        """The variables of the metrics, the sums since the last evaluation."""
        metrics: list[Any] = self._read()["metrics"]
        return metrics

    def write(self, model: "GPT2LM", progress: Progress) -> None:
        """Writes the directory; it is there in full or not at all.

        Raises:
            OSError: If a file cannot be written.
        """
        getattr(model, "jax_state_sync", lambda: None)()  # JAX trains on copies of the variables
        with new_directory(self.path, replace=True) as directory:
            weights = directory / WEIGHTS_FILE
            try:
                model.save_weights(weights)
            except RuntimeError as error:  # of h5py, which has no other for a full disk
                raise OSError(f"{weights.name} cannot be written: {error}") from error
            state = {
                "step": progress.step,
                "skipped": progress.skipped,
                "history": progress.history,
                "metrics": _values(model.metrics_variables),
                "random_states": _values(_random_states(model)),
                "config": model.config.to_dict(),
                "weights": _fingerprint(weights),
            }
            _write_json(directory / PROGRESS_FILE, state)

    def record(self, progress: Progress) -> None:
        """Adds what the evaluation after the step has found.

        Raises:
            OSError: If the file cannot be written; it is then as it was.
        """
        with new_file(self.path / PROGRESS_FILE) as file:
            _write_json(file, {**self._read(), "history": progress.history, "metrics": []})

    def damage(self) -> str | None:
        """Says what is wrong with the files, or returns None if they are as they were written."""
        try:
            expected = self._read()["weights"]
            found = _fingerprint(self.path / WEIGHTS_FILE)
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except (ValueError, KeyError):
            return f"{PROGRESS_FILE} is not what was written"
        if found != expected:
            return f"{WEIGHTS_FILE} is not what was written: {found}, once {expected}"
        return None

    def restore(self, model: "GPT2LM") -> None:
        """Gives a compiled model the state of this one; the metrics are left to `fit`.

        Raises:
            ValueError: If the model or its optimizer is of another kind.
        """
        with warnings.catch_warnings():
            # Keras leaves an optimizer as it is, with a warning, if the file has another's.
            warnings.simplefilter("error", UserWarning)
            try:
                model.load_weights(self.path / WEIGHTS_FILE)
            except UserWarning as error:
                raise ValueError(
                    "A run goes on with the optimizer that it began with. "
                    f"Received: {self.path}: {error} Put settings.json back as it was."
                ) from error
        for variable, state in zip(
            _random_states(model), self._read()["random_states"], strict=True
        ):
            variable.assign(state)

    def _read(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.path / PROGRESS_FILE).read_text(encoding="utf-8"))
        return state


def restore_metrics(model: "GPT2LM", values: list[Any]) -> None:
    """Gives the metrics of a model the sums of a checkpoint."""
    for variable, value in zip(model.metrics_variables, values, strict=True):
        variable.assign(value)


def _values(variables: list[Any]) -> list[Any]:
    """Returns the numbers of variables; Python's are exact for float32 and 64-bit integers."""
    return [ops.convert_to_numpy(variable).tolist() for variable in variables]


def _random_states(model: "GPT2LM") -> list[Any]:
    """Returns the variables that the dropout layers draw their numbers from."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _fingerprint(path: Path) -> dict[str, int]:
    """Returns what tells a file from a damaged one."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
        return {"bytes": file.tell(), "crc32": checksum}


def _write_json(path: Path, contents: dict[str, Any]) -> None:
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
