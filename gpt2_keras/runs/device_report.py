"""What a run says of the device that it is on."""

import dataclasses
import sys
import warnings

from gpt2_keras.devices import current_device, warn_of_unused_gpu
from gpt2_keras.runs.progress import Progress


def report_device(progress: Progress, dtype: str, verbose: int | str) -> Progress:
    """Says where a run computes; warns of a GPU that is not used, and of another device.

    Args:
        progress: The progress, with the device of its last step.
        dtype: The dtype of the computation.
        verbose: Whether to say it where nothing is wrong: 0 for not.

    Returns:
        The progress with the device of the next step.
    """
    device = current_device()
    if verbose:
        sys.stderr.write(f"device: {device}, {dtype}\n")
    warn_of_unused_gpu(device)
    if progress.device not in ("", str(device)):
        warnings.warn(
            f"The run was on {progress.device}, and goes on on {device}: from now on its numbers "
            "differ by rounding.",
            stacklevel=3,
        )
    return dataclasses.replace(progress, device=str(device))
