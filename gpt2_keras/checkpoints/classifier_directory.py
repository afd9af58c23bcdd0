"""Classifiers on disk, in the layout of Hugging Face's `GPT2ForSequenceClassification`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gpt2_keras.atomic import new_directory
from gpt2_keras.checkpoints import huggingface, huggingface_files
from gpt2_keras.checkpoints.formats import detect
from gpt2_keras.checkpoints.hub import locate
from gpt2_keras.checkpoints.json_files import read_json
from gpt2_keras.checkpoints.model_directory import CONFIG_FILE, write_files
from gpt2_keras.checkpoints.tensors import StoredVariable
from gpt2_keras.layers.initializers import uninitialized_weights
from gpt2_keras.model import GPT2Model

if TYPE_CHECKING:
    from gpt2_keras.finetuning import GPT2Classifier

ARCHITECTURE = "GPT2ForSequenceClassification"

Classifier = TypeVar("Classifier", bound="GPT2Classifier")


def save_classifier(classifier: "GPT2Classifier", directory: str | Path) -> None:
    """Writes a classifier as a directory that transformers reads too.

    Args:
        classifier: The classifier.
        directory: The new directory.

    Raises:
        FileExistsError: If the directory holds something.
    """
    model, labels = classifier.language_model, classifier.labels
    changes = {
        "architectures": [ARCHITECTURE],
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        # transformers finds the last token of a text by it.
        "pad_token_id": None if model.tokenizer is None else model.tokenizer.end_token_id,
    }
    with new_directory(directory) as unfinished:
        write_files(unfinished, model, config_changes=changes, head=_head(classifier))


def is_classifier(preset: str | Path) -> bool:
    """Returns whether a directory, or an address, has a classifier; errors are `load`'s."""
    checkpoint_format, directory = detect(locate(preset))
    if checkpoint_format.open is not huggingface_files.open_directory:
        return False
    return bool(read_json(directory / CONFIG_FILE).get("architectures") == [ARCHITECTURE])


def load_classifier(
    preset: str | Path,
    *,
    classifier_class: type[Classifier],
    model_class: type[GPT2Model],
    dtype: Any = None,
    **changes: Any,
) -> Classifier:
    """Loads a classifier from a directory or an address.

    Args:
        preset: As for `load`.
        classifier_class: `GPT2Classifier` or a subclass.
        model_class: The class of its language model.
        dtype: Keras dtype or policy of the model; by default Keras' global one.
        **changes: Fields of `GPT2Config` to set to another value.

    Raises:
        FileNotFoundError: If there is no checkpoint; lists the files looked for.
        ValueError: If it is not a classifier, or its files are damaged.
    """
    checkpoint_format, directory = detect(locate(preset))
    advice = "Load it with GPT2LM.from_preset, and make a new GPT2Classifier of it."
    if checkpoint_format.open is not huggingface_files.open_directory:
        raise ValueError(
            f"{directory} is {checkpoint_format.name}, and a classifier has the layout of "
            f"Hugging Face. {advice}"
        )
    path = directory / CONFIG_FILE
    contents = read_json(path)
    architectures, names = contents.get("architectures"), contents.get("id2label")
    if (
        architectures != [ARCHITECTURE]
        or not isinstance(names, dict)
        or not all(map(str.isdecimal, names))
    ):
        raise ValueError(
            f'{path} has "architectures": {architectures!r:.80} and "id2label": {names!r:.200}, '
            f'and a classifier has ["{ARCHITECTURE}"] and an object with a name for each number. '
            f"{advice}"
        )
    checkpoint = huggingface_files.open_directory(directory, None, changes)
    config, tokenizer = checkpoint.fitted()
    with uninitialized_weights():
        model = model_class(config, tokenizer=tokenizer, dtype=dtype)
    model.generation_config = checkpoint.generation_config
    classifier = classifier_class(model, [names[index] for index in sorted(names, key=int)])
    tensors = huggingface_files.open_weights(directory)
    tensors = tensors.without_padding(checkpoint.config.vocab_size, config.vocab_size)
    huggingface.fill_model(model, tensors, CONFIG_FILE, head=_head(classifier))
    return classifier


def _head(classifier: "GPT2Classifier") -> dict[str, StoredVariable]:
    """Returns the weights of the head; `nn.Linear` has kernels (out, in), Keras (in, out)."""
    return {"score.weight": StoredVariable(classifier.head.kernel, transposed=True)}
