"""A checkpoint: the state of the training after a step, all that the next step depends on."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from gpt2_keras.atomic import new_directory, new_file
from gpt2_keras.config import GPT2Config
from gpt2_keras.json_text import parse_json
from gpt2_keras.runs.progress import Progress

if TYPE_CHECKING:
    from gpt2_keras.model import GPT2Model

# NumPy's format: a zip file, not compressed, with a checksum of each array. Keras' own leaves
# out the state of the dropout and of the metrics, and uses HDF5, which on a full disk ends the
# process with a segmentation fault (HDF5 1.14, h5py 3).
STATE_FILE = "state.npz"
PROGRESS_FILE = "progress.json"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The directory of a checkpoint.

    `state.npz` has every variable: weights, the random state of the dropout, the
    optimizer's (the step of the schedule, moments, moving averages of the weights, the
    loss scale), and the sums of the metrics since the last evaluation.
    `progress.json` has the history. The position in the data follows from the step.

    Args:
        path: The directory.
    """

    path: Path

    @property
    def progress(self) -> Progress:
        """The progress of the run at this step."""
        fields = {field.name: self._read()[field.name] for field in dataclasses.fields(Progress)}
        return Progress(**{**fields, "history": tuple(fields["history"])})

    @property
    def config(self) -> GPT2Config:
        """The config of the model."""
        return GPT2Config.from_dict(self._read()["config"])

    def write(self, model: "GPT2Model", progress: Progress) -> None:
        """Writes the directory, as a whole or not at all.

        Raises:
            OSError: If a file cannot be written.
        """
        getattr(model, "jax_state_sync", lambda: None)()  # JAX trains on copies of the variables
        with new_directory(self.path, replace=True) as directory:
            # Not by np.savez: it wants all arrays at once, another copy of the whole state.
            with zipfile.ZipFile(directory / STATE_FILE, "w") as file:
                for name, variable in _variables(model).items():
                    with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, _value(variable))
            with (directory / STATE_FILE).open("rb") as written:
                os.fsync(written.fileno())  # a machine may be lost, not only the process
            state = {**dataclasses.asdict(progress), "config": model.config.to_dict()}
            _write_json(directory / PROGRESS_FILE, state)

    def record(self, progress: Progress) -> None:
        """Adds the result of the evaluation after the step.

        Raises:
            OSError: If the file cannot be written; it is then unchanged.
        """
        with new_file(self.path / PROGRESS_FILE) as file:
            _write_json(file, {**self._read(), "history": progress.history})

    def damage(self) -> str | None:
        """Returns what is wrong with the files, or None if they are as they were written."""
        try:
            _ = self.progress, self.config
            with zipfile.ZipFile(self.path / STATE_FILE) as file:
                broken = file.testzip()
        except FileNotFoundError as error:
            return f"{Path(error.filename).name} is missing"
        except zipfile.BadZipFile as error:
            return f"{STATE_FILE} is damaged: {error}"
        except (ValueError, KeyError, TypeError) as error:
            return f"{PROGRESS_FILE} is damaged: {error}"
        return None if broken is None else f"{STATE_FILE} is damaged: wrong checksum of {broken}"

    def restore(self, model: "GPT2Model") -> None:
        """Assigns the state to the variables of a compiled model.

        Raises:
            ValueError: If the model or its optimizer has other variables.
        """
        variables = _variables(model)
        with np.load(self.path / STATE_FILE) as arrays:
            other = sorted(variables.keys() ^ set(arrays.files))
            if other:
                raise ValueError(
                    f"The settings make other variables than {self.path} has: "
                    f"{', '.join(other[:3])}{', …' if other[3:] else ''}. A run is resumed with "
                    "the settings that it began with. Put settings.json back as it was."
                )
            for name, variable in variables.items():
                variable.assign(arrays[name] * _num_devices(variable))

    def restore_weights(self, model: "GPT2Model") -> None:
        """Assigns the weights alone to a model of the same config, compiled or not.

        Raises:
            ValueError: If the model has other variables.
        """
        with np.load(self.path / STATE_FILE) as arrays:
            names = {name for name in arrays.files if name.startswith("model/")}
            variables = _named("model", model.variables)
            if other := sorted(variables.keys() ^ names):
                raise ValueError(
                    f"{self.path} has other weights than the model: {', '.join(other[:3])}"
                    f"{', …' if other[3:] else ''}. Both must have one config. Load the model of "
                    "this run."
                )
            for name, variable in variables.items():
                variable.assign(arrays[name])

    def _read(self) -> dict[str, Any]:
        state: dict[str, Any] = parse_json((self.path / PROGRESS_FILE).read_text(encoding="utf-8"))
        return state


def _variables(model: "GPT2Model") -> dict[str, Any]:
    """Returns every variable that a step changes, by names that are equal in every process."""
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    named: dict[str, Any] = {}
    for group, variables in groups.items():
        named |= _named(group, variables)
    return named


def _named(group: str, variables: Iterable[Any]) -> dict[str, Any]:
    return {f"{group}/{index:04d}-{each.name}": each for index, each in enumerate(variables)}


def _value(variable: Any) -> np.ndarray:
    """Returns the value of a variable; of a metric's variable, the value on one device.

    Each device already has the sum over all devices. To read it the usual way would add them
    up over processes, and wait for ever: only one process writes checkpoints.
    """
    if _num_devices(variable) == 1:
        return ops.convert_to_numpy(variable)
    return ops.convert_to_numpy(variable.value.values[0])


def _num_devices(variable: Any) -> int:
    """Returns the number of `tf.distribute` devices over which reading a variable sums it."""
    strategy = getattr(variable.value, "distribute_strategy", None)
    if strategy is None or variable.synchronization != "on_read":
        return 1
    return int(strategy.num_replicas_in_sync)


def _write_json(path: Path, contents: dict[str, Any]) -> None:
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
