"""The certificate of an artefact: proof that it equals the Keras model."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Self

from gpt2_keras.atomic import new_file
from gpt2_keras.export.artefacts import certificate_path, file_hashes, open_artefact
from gpt2_keras.export.checks import Check, Progress, run_checks
from gpt2_keras.export.provenance import fingerprints, versions
from gpt2_keras.export.text_suite import default_text
from gpt2_keras.model import GPT2LM

FORMAT = 1
# What a certificate's file holds, besides `format` and `seal`.
_TYPES = {
    "kind": str,
    "dtype": str,
    "files": dict,
    "inputs": dict,
    "versions": dict,
    "operators": list,
    "text": dict,
    "checks": list,
}


class CertificateError(ValueError):
    """An artefact that is not what it should be.

    Args:
        path: The artefact.
        failures: What is wrong, a sentence each.
        certificate: What was measured, if it came to that.
    """

    def __init__(
        self, path: Path, failures: tuple[str, ...], certificate: "Certificate | None" = None
    ) -> None:
        super().__init__(
            "\n- ".join([f"{path} does not equal the model, or its certificate:", *failures])
        )
        self.failures = failures
        self.certificate = certificate


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What was measured on an artefact, side by side with its model.

    Args:
        path: The artefact.
        kind: Its format, as `export` names it.
        dtype: How it stores the weights.
        files: The SHA-256 of each of its files.
        inputs: The SHA-256 of the model's config, weights and tokenizer.
        versions: Of what was at work.
        operators: The names of the ops, sorted.
        text: The `sha256` and number of `characters` of the text measured on.
        checks: The comparisons.
    """

    path: Path
    kind: str
    dtype: str
    files: dict[str, str]
    inputs: dict[str, str]
    versions: dict[str, str | None]
    operators: tuple[str, ...]
    text: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, a sentence each; none if all is well."""
        return tuple(check.failure for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return not self.failures

    @property
    def summary(self) -> str:
        """The figures in one line."""
        return ", ".join(f"{check.name} {check.figure:.2g}" for check in self.checks)

    def to_json(self) -> str:
        """Returns the text of the certificate's file.

        `seal` is the SHA-256 of all the rest. It tells an edited file from a
        written one; it is no signature.
        """
        contents = {
            "format": FORMAT,
            "kind": self.kind,
            "dtype": self.dtype,
            "files": self.files,
            "inputs": self.inputs,
            "versions": self.versions,
            "operators": list(self.operators),
            "text": self.text,
            "checks": [check.to_dict() for check in self.checks],
        }
        return _dump({**contents, "seal": seal(contents)})

    def write(self) -> Path:
        """Writes the certificate into the artefact's directory, or beside its file.

        Returns:
            Where it is.

        Raises:
            CertificateError: If a check failed: there is no certificate of that.
        """
        if not self.passed:
            raise CertificateError(self.path, self.failures, self)
        place = certificate_path(self.path)
        with new_file(place) as unfinished:
            unfinished.write_text(self.to_json(), encoding="utf-8")
        return place

    @classmethod
    def read(cls, artefact_path: str | Path) -> Self:
        """Reads the certificate of an artefact; `verify` says whether it holds.

        Raises:
            FileNotFoundError: If it has none.
            ValueError: If it cannot be read.
        """
        return cls.from_json(read_text(Path(artefact_path)), Path(artefact_path))

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Reads what `to_json` gives, of the artefact at `path`; the seal is not looked at.

        Raises:
            ValueError: If it is no certificate.
        """
        contents = parse(text, path)
        for name, needed in _TYPES.items():
            if not isinstance(contents.get(name), needed):
                raise unreadable(path, f"with {name}={contents.get(name)!r}")
        try:
            checks = tuple(Check(**check) for check in contents["checks"])
        except TypeError as error:
            raise unreadable(path, f"with checks that are none ({error})") from error
        return cls(
            path=path,
            **{name: contents[name] for name in ("kind", "dtype", "files", "inputs", "versions")},
            operators=tuple(contents["operators"]),
            text=contents["text"],
            checks=checks,
        )


def certify(
    model: GPT2LM,
    artefact_path: str | Path,
    *,
    text: str | None = None,
    on_progress: Progress | None = None,
) -> Certificate:
    """Measures an artefact side by side with its model.

    Args:
        model: The Keras model it was exported from.
        artefact_path: The version directory of a SavedModel, or a `.tflite` or `.litertlm` file.
        text: What perplexity is measured on. By default the beginning of the
            documentation that ships inside Python.
        on_progress: Called with the number of bytes of text done, and of all.

    Returns:
        The certificate; `passed` says whether the artefact equals the model.

    Raises:
        FileNotFoundError: If there is no artefact.
        ImportError: If its runtime is not installed.
        ValueError: If it cannot be loaded, or the text is empty.
    """
    path = Path(artefact_path)
    artefact = open_artefact(path)
    text = default_text() if text is None else text
    return Certificate(
        path=path,
        kind=artefact.kind,
        dtype=artefact.dtype,
        files=file_hashes(path),
        inputs=fingerprints(model),
        versions=versions(),
        operators=tuple(artefact.operators()),
        text={"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)},
        checks=run_checks(model, artefact, text, on_progress),
    )


def read_text(path: Path) -> str:
    """Returns the text of an artefact's certificate.

    Raises:
        FileNotFoundError: If it has none.
        ValueError: If it is no text.
    """
    place = certificate_path(path)
    try:
        return place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            "The artefact has no certificate. "
            f"Received: {path}, without {place}. Export it again, or write one: "
            "`gpt2_keras.export.certify(model, path).write()`."
        ) from None
    except UnicodeDecodeError as error:
        raise unreadable(path, f"which is no UTF-8 text ({error})") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Returns the JSON object of a certificate's file; raises ValueError if it is none."""
    try:
        contents = json.loads(text)
    except ValueError as error:
        raise unreadable(path, f"which is no JSON ({error})") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        found = contents.get("format") if isinstance(contents, dict) else None
        raise unreadable(path, f"with format={found!r}")
    return contents


def unreadable(path: Path, what: str) -> ValueError:
    """Returns the error of a certificate that cannot be read."""
    return ValueError(
        f"A certificate is a JSON object with format={FORMAT}. "
        f"Received: {certificate_path(path)}, {what}. Export the artefact again."
    )


def _dump(contents: dict[str, Any]) -> str:
    return json.dumps(contents, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def seal(contents: dict[str, Any]) -> str:
    """Returns the SHA-256 of a certificate's contents, the seal left out."""
    return hashlib.sha256(_dump(contents).encode()).hexdigest()
