"""Compares an artifact with its model and with the certificate written for it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_path, check_text
from gpt2_keras.verification.certificate import (
    Certificate,
    CertificateError,
    Check,
    parse,
    read_text,
    seal,
)
from gpt2_keras.verification.certify import certify, file_hashes, fingerprints
from gpt2_keras.verification.checks import FLOAT32_TOLERANCE, Progress
from gpt2_keras.verification.open import artifact_format

# Between machines, whose libraries sum in another order.
_FIGURE_TOLERANCE = 1e-3


def verify(
    artifact_path: str | Path,
    model: GPT2Model,
    *,
    text: str | None = None,
    on_progress: Progress | None = None,
) -> Certificate:
    """Measures an artifact again, and compares with the certificate written for it.

    An artifact whose files are not those of its certificate is not run.

    Args:
        artifact_path: As for `certify`.
        model: The model it is said to equal.
        text: As for `certify`. With another text than the certificate's, the
            figures on that text only have to keep their limits.
        on_progress: As for `certify`.

    Returns:
        The new certificate, of which every check passed.

    Raises:
        CertificateError: If anything differs; it says what, with both values.
        FileNotFoundError: If there is no artifact, or no certificate.
        ImportError, TypeError, ValueError, RuntimeError: As for `certify`, and if the certificate
            cannot be read.
    """
    path = Path(check_path("artifact_path", artifact_path))
    if text is not None:
        check_text("text", text)
    format_found = artifact_format(path)
    contents = read_text(path)
    written = Certificate.from_json(contents, path)
    edited = tuple(_seal_differences(contents, path))
    differences = [
        *_differences("The format", {"": written.format}, {"": format_found}),
        *_differences("File", written.files, file_hashes(path)),
        *_differences("The model's", written.inputs, fingerprints(model)),
    ]
    if differences:
        raise CertificateError(path, (*edited, *differences))
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
            f"The certificate has seal {recorded}, and its contents have {computed}: "
            "it was edited after it was written."
        )


def _differences(what: str, written: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Compares dictionaries, a sentence for each key."""
    for name in sorted(written.keys() | found.keys()):
        old, new = written.get(name, "nothing"), found.get(name, "nothing")
        if old != new:
            yield f"{' '.join([what, name]).strip()}: found {new}, but the certificate has {old}."


def _measured_differences(written: Certificate, measured: Certificate) -> Iterator[str]:
    """Compares what was measured with what was written."""
    yield from _differences("The storage type", {"": written.dtype}, {"": measured.dtype})
    both = (written, measured)
    yield from _differences("Op", *(dict.fromkeys(each.operators, "one") for each in both))
    yield from _differences(
        "Check", *({check.name: "one" for check in each.checks} for each in both)
    )
    if written.text != measured.text:
        return
    new = {check.name: check for check in measured.checks}
    for check in written.checks:
        if check.name in new:
            yield from _check_differences(check, new[check.name])


def _check_differences(written: Check, measured: Check) -> Iterator[str]:
    """Compares two measurements, up to what machines differ by."""
    tolerance = measured.limit
    if tolerance is None:
        # The rounding of a tie may change a whole greedy text; other figures have a scale.
        tolerance = FLOAT32_TOLERANCE * measured.details.get("scale", math.inf)
    old, new = ({**each.details, "limit": each.limit} for each in (written, measured))
    close = {name for name in new if _close(old.get(name), new[name], 0)}
    if _close(written.figure, measured.figure, tolerance):
        close.add("figure")
    old, new = old | {"figure": written.figure}, new | {"figure": measured.figure}
    rest = ({k: v for k, v in each.items() if k not in close} for each in (old, new))
    yield from _differences(f"{measured.name}:", *rest)


def _close(written: Any, measured: Any, tolerance: float) -> bool:
    if isinstance(written, int | float) and isinstance(measured, float):
        return math.isclose(written, measured, rel_tol=_FIGURE_TOLERANCE, abs_tol=tolerance)
    if isinstance(written, int) and isinstance(measured, int):
        return abs(written - measured) <= tolerance
    return bool(written == measured)
