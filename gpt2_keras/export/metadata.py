"""What an artifact says of itself to a host that has only the artifact."""

from typing import Any

from gpt2_keras.applications import Task
from gpt2_keras.model import GPT2Model
from gpt2_keras.version import __version__


def artifact_metadata(
    model: GPT2Model, context_length: int, dtype: str, task: Task | None = None
) -> dict[str, Any]:
    """Returns the metadata of an artifact, for JSON.

    Args:
        model: The model.
        context_length: Largest number of tokens that the artifact attends to.
        dtype: How its weights are stored.
        task: The task that it has inside, if any.
    """
    config = model.config.to_dict() | {"context_length": context_length}
    metadata: dict[str, Any] = {
        "name": "GPT-2",
        "made_by": f"gpt2_keras {__version__}",
        "weights": dtype,
        "config": config,
    }
    if model.tokenizer is not None:
        metadata |= {
            "start_token_id": model.tokenizer.end_token_id,  # an empty text is read as this token
            "end_token_ids": list(model.end_token_ids),
        }
    if task is not None:
        metadata["task"] = task.to_dict()
    return metadata
