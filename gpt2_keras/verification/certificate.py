"""The certificate of an artifact: proof that it equals the Keras model."""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from gpt2_keras.atomic import new_file
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import certificate_path, file_hashes
from gpt2_keras.verification.checks import FLOAT32_TOLERANCE, Check, Progress, run_checks
from gpt2_keras.verification.open import kind_of, open_artifact
from gpt2_keras.verification.text_suite import default_text
from gpt2_keras.version import __version__

_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "litert-lm")


def fingerprints(model: GPT2Model) -> dict[str, str]:
    """Returns the SHA-256 of a model's `config`, `weights` and `tokenizer`.

    They depend on no file: a model is the same in every format it can be kept in. Of
    the config the dropout rate is left out, which an artifact knows nothing of.

    Example:
        >>> config = GPT2Config(vocab_size=9, context_length=4, num_layers=1, num_heads=1,
        ...                     hidden_dim=4)
        >>> sorted(fingerprints(GPT2LM(config)))
        ['config', 'weights']
    """
    shape = model.config.to_dict()
    del shape["dropout_rate"]
    made_of = {
        "config": hashlib.sha256(json.dumps(shape, sort_keys=True).encode()),
        "weights": hashlib.sha256(),
    }
    for name, stored in sorted(huggingface.stored_variables(model).items()):
        tensor = stored.read()
        made_of["weights"].update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        made_of["weights"].update(tensor.data)
    hashes = {name: each.hexdigest() for name, each in made_of.items()}
    if model.tokenizer is not None:
        hashes["tokenizer"] = model.tokenizer.fingerprint
    return hashes


def versions() -> dict[str, str | None]:
    """Returns the versions at work; None for what is not installed."""
    found: dict[str, str | None] = {"gpt2_keras": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


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
    """An artifact that is not what it should be.

    Args:
        path: The artifact.
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
    """What was measured on an artifact, side by side with its model.

    Args:
        path: The artifact.
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
        """Writes the certificate into the artifact's directory, or beside its file.

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
    def read(cls, artifact_path: str | Path) -> Self:
        """Reads the certificate of an artifact; `verify` says whether it holds.

        Raises:
            FileNotFoundError: If it has none.
            ValueError: If it cannot be read.
        """
        return cls.from_json(read_text(Path(artifact_path)), Path(artifact_path))

    @classmethod
    def from_json(cls, text: str, path: Path) -> Self:
        """Reads what `to_json` gives, of the artifact at `path`; the seal is not looked at.

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
    model: GPT2Model,
    artifact_path: str | Path,
    *,
    text: str | None = None,
    on_progress: Progress | None = None,
) -> Certificate:
    """Measures an artifact side by side with its model.

    Args:
        model: The Keras model it was exported from.
        artifact_path: The version directory of a SavedModel, or a `.tflite` or `.litertlm` file.
        text: What perplexity is measured on. By default the beginning of the
            documentation that ships inside Python.
        on_progress: Called with the number of bytes of text done, and of all.

    Returns:
        The certificate; `passed` says whether the artifact equals the model.

    Raises:
        FileNotFoundError: If there is no artifact.
        ImportError: If its runtime is not installed.
        ValueError: If it cannot be loaded, or the text is empty.
    """
    path = Path(artifact_path)
    artifact = open_artifact(path)
    text = default_text() if text is None else text
    return Certificate(
        path=path,
        kind=artifact.kind,
        dtype=artifact.dtype,
        files=file_hashes(path),
        inputs=fingerprints(model),
        versions=versions(),
        operators=tuple(artifact.operators()),
        text={"sha256": hashlib.sha256(text.encode()).hexdigest(), "characters": len(text)},
        checks=run_checks(model, artifact, text, on_progress),
    )


def read_text(path: Path) -> str:
    """Returns the text of an artifact's certificate.

    Raises:
        FileNotFoundError: If it has none.
        ValueError: If it is no text.
    """
    place = certificate_path(path)
    try:
        return place.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            "The artifact has no certificate. "
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
        f"Received: {certificate_path(path)}, {what}. Export the artifact again."
    )


def _dump(contents: dict[str, Any]) -> str:
    return json.dumps(contents, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def seal(contents: dict[str, Any]) -> str:
    """Returns the SHA-256 of a certificate's contents, the seal left out."""
    return hashlib.sha256(_dump(contents).encode()).hexdigest()


# Between machines, whose libraries add up in another order.
_FIGURE_TOLERANCE = 1e-3


def verify(
    artifact_path: str | Path,
    model: GPT2Model,
    *,
    text: str | None = None,
    on_progress: Progress | None = None,
) -> Certificate:
    """Measures an artifact anew, and compares with the certificate written for it.

    An artifact whose files are not those of its certificate is not run.

    Args:
        artifact_path: As for `certify`.
        model: The model it is said to equal.
        text: As for `certify`. With another text than the certificate's, the
            figures on that text only have to keep their limits.
        on_progress: As for `certify`.

    Returns:
        The new certificate, in which all is well.

    Raises:
        CertificateError: If anything differs; it says what, with both values.
        FileNotFoundError: If there is no artifact, or no certificate.
        ImportError, ValueError: As for `certify`, and if the certificate cannot
            be read.
    """
    path = Path(artifact_path)
    kind = kind_of(path)
    contents = read_text(path)
    written = Certificate.from_json(contents, path)
    edited = tuple(_seal_differences(contents, path))
    others = [
        *_named("The format", {"": written.kind}, {"": kind}),
        *_named("File", written.files, file_hashes(path)),
        *_named("The model's", written.inputs, fingerprints(model)),
    ]
    if others:
        raise CertificateError(path, (*edited, *others))
    measured = certify(model, path, text=text, on_progress=on_progress)
    failures = (*edited, *_measured_differences(written, measured), *measured.failures)
    if failures:
        raise CertificateError(path, failures, measured)
    return measured


def _seal_differences(text: str, path: Path) -> Iterator[str]:
    contents = parse(text, path)
    recorded = contents.pop("seal", None)
    if (computed := seal(contents)) != recorded:
        yield (
            "The certificate was edited after it was written. "
            f"Received: seal {recorded}, and its contents have {computed}."
        )


def _named(what: str, written: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Compares dictionaries, a sentence for each name."""
    for name in sorted(written.keys() | found.keys()):
        old, new = written.get(name, "nothing"), found.get(name, "nothing")
        if old != new:
            yield (
                f"{' '.join([what, name]).strip()}: not as in the certificate. "
                f"Received: {new}, and the certificate has {old}."
            )


def _measured_differences(written: Certificate, measured: Certificate) -> Iterator[str]:
    """Compares what was measured with what was written."""
    yield from _named("The storage type", {"": written.dtype}, {"": measured.dtype})
    both = (written, measured)
    yield from _named("Op", *(dict.fromkeys(each.operators, "one") for each in both))
    yield from _named("Check", *({check.name: "one" for check in each.checks} for each in both))
    if written.text != measured.text:
        return
    new = {check.name: check for check in measured.checks}
    for check in written.checks:
        if check.name in new:
            yield from _check_differences(check, new[check.name])


def _check_differences(written: Check, measured: Check) -> Iterator[str]:
    """Compares two measurements, up to what machines differ by."""
    slack = measured.limit
    if slack is None:
        # Roundings of a tie decide what a text becomes; other figures have a scale.
        slack = FLOAT32_TOLERANCE * measured.details.get("scale", math.inf)
    old, new = ({**each.details, "limit": each.limit} for each in (written, measured))
    close = {name for name in new if _close(old.get(name), new[name], 0)}
    if _close(written.figure, measured.figure, slack):
        close.add("figure")
    old, new = old | {"figure": written.figure}, new | {"figure": measured.figure}
    rest = ({k: v for k, v in each.items() if k not in close} for each in (old, new))
    yield from _named(f"{measured.name}:", *rest)


def _close(written: Any, measured: Any, slack: float) -> bool:
    if isinstance(written, int | float) and isinstance(measured, float):
        return math.isclose(written, measured, rel_tol=_FIGURE_TOLERANCE, abs_tol=slack)
    if isinstance(written, int) and isinstance(measured, int):
        return abs(written - measured) <= slack
    return bool(written == measured)
