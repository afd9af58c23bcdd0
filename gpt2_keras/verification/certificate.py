"""The certificate of an artifact: what was measured, and the file that records it."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any, Self

from gpt2_keras.atomic import new_file
from gpt2_keras.json_text import parse_json

CERTIFICATE_NAME = "certificate.json"
FILE_FORMAT = 1  # the value of `format` in the file
# The other keys of the file, besides `seal`.
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


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison of an artifact and its model.

    Args:
        name: What was compared.
        figure: The difference found: a count, or a number.
        limit: The largest figure allowed; None for one that is only reported.
        details: What the figure was computed from.
        failure: What is wrong, in a sentence; empty if nothing is.
    """

    name: str
    figure: float
    limit: float | None
    details: dict[str, Any]
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failure

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields for JSON, in which a figure that is not finite becomes null."""
        figure = self.figure if math.isfinite(self.figure) else None
        return {**dataclasses.asdict(self), "figure": figure}


class CertificateError(ValueError):
    """An artifact that differs from its model or from its certificate.

    Args:
        path: The artifact.
        failures: What is wrong, a sentence each.
        certificate: What was measured, if anything was.
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
    """What was measured on an artifact, side by side with its model.

    Args:
        path: The artifact.
        format: Its format, as `export` names it; `kind` in the file.
        dtype: How it stores the weights.
        files: The SHA-256 of each of its files.
        inputs: The SHA-256 of the model's config, weights and tokenizer.
        versions: Of the packages that measured.
        operators: The names of the ops, sorted.
        text: The `sha256` and number of `characters` of the text measured on.
        checks: The comparisons.
    """

    path: Path
    format: str
    dtype: str
    files: dict[str, str]
    inputs: dict[str, str]
    versions: dict[str, str | None]
    operators: tuple[str, ...]
    text: dict[str, Any]
    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """What is wrong, a sentence each; none if every check passed."""
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
            "format": FILE_FORMAT,
            "kind": self.format,
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
        """Writes the certificate into the artifact's directory, or beside its file.

        Returns:
            The path of the certificate.

        Raises:
            CertificateError: If a check failed; then nothing is written.
        """
        if not self.passed:
            raise CertificateError(self.path, self.failures, self)
        path = certificate_path(self.path)
        with new_file(path) as unfinished:
            unfinished.write_text(self.to_json(), encoding="utf-8")
        return path

    @classmethod
    def read(cls, artifact_path: str | Path) -> Self:
        """Reads the certificate of an artifact; `verify` says whether it holds.

        Raises:
            FileNotFoundError: If it has none.
            ValueError: If it cannot be read.
        """
        return cls.from_json(read_text(Path(artifact_path)), Path(artifact_path))

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Reads what `to_json` gives, of the artifact at `path`; the seal is not checked.

        Raises:
            ValueError: If it is no certificate.
        """
        contents = parse(text, path)
        for name, expected in _TYPES.items():
            if not isinstance(contents.get(name), expected):
                raise _invalid(path, f"has {name}={contents.get(name)!r}")
        try:
            checks = tuple(Check(**check) for check in contents["checks"])
        except TypeError as error:
            raise _invalid(path, f"has checks that are none ({error})") from error
        return cls(
            path=path,
            format=contents["kind"],
            **{name: contents[name] for name in ("dtype", "files", "inputs", "versions")},
            operators=tuple(contents["operators"]),
            text=contents["text"],
            checks=checks,
        )


def certificate_path(path: Path) -> Path:
    """Returns the path of an artifact's certificate.

    Example:
        >>> certificate_path(Path("models/model.tflite")).as_posix()
        'models/model.certificate.json'
        >>> certificate_path(Path("models/model.litertlm")).as_posix()
        'models/model.litertlm.certificate.json'
    """
    if path.suffix == ".tflite":
        return path.with_name(f"{path.stem}.{CERTIFICATE_NAME}")
    if path.suffix == ".litertlm":
        return path.with_name(f"{path.name}.{CERTIFICATE_NAME}")
    return path / CERTIFICATE_NAME


def read_text(path: Path) -> str:
    """Returns the text of an artifact's certificate.

    Raises:
        FileNotFoundError: If it has none.
        ValueError: If it is no text.
    """
    certificate = certificate_path(path)
    try:
        return certificate.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} has no certificate: {certificate} does not exist. Export the artifact again, "
            "or write one: `gpt2_keras.export.certify(model, path).write()`."
        ) from None
    except UnicodeDecodeError as error:
        raise _invalid(path, f"is not UTF-8 text ({error})") from error


def parse(text: str, path: Path) -> dict[str, Any]:
    """Returns the JSON object of a certificate's file; raises a ValueError if it is none."""
    try:
        contents = parse_json(text)
    except ValueError as error:
        raise _invalid(path, f"is not JSON ({error})") from error
    if not isinstance(contents, dict) or contents.get("format") != FILE_FORMAT:
        found = contents.get("format") if isinstance(contents, dict) else None
        raise _invalid(path, f"has format={found!r}")
    return contents


def seal(contents: dict[str, Any]) -> str:
    """Returns the SHA-256 of a certificate's contents without the seal."""
    return hashlib.sha256(_dump(contents).encode()).hexdigest()


def _dump(contents: dict[str, Any]) -> str:
    return json.dumps(contents, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _invalid(path: Path, problem: str) -> ValueError:
    return ValueError(
        f"{certificate_path(path)} {problem}. A certificate is a JSON object with "
        f"format={FILE_FORMAT}. Export the artifact again."
    )
