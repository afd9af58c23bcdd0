"""Explorations as the page reads them: JSON, its large arrays as bytes in base64."""

import base64
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gpt2_keras.understanding.exploration import Exploration
    from gpt2_keras.understanding.panels import Panels

# Attention of a page, in base64: 512 tokens of the 124M shape are 25 MB, 1024 would be 101 MB,
# which a browser takes seconds to read.
MAX_ATTENTION_BYTES = 40 * 2**20
_LENS_CANDIDATES = 5  # of each cell: as many as the page names
_ABLATED_CANDIDATES, _LONG, _ABLATED_CANDIDATES_OF_LONG = 5, 128, 3


def pack(explorations: Sequence["Exploration"]) -> dict[str, Any]:
    """Returns the data of a page.

    Args:
        explorations: The same tokens as several models see them, or one.

    Raises:
        ValueError: If the tokens differ, or the attention is too large for a page.
    """
    first = explorations[0]
    for other in explorations[1:]:
        if not np.array_equal(first.token_ids, other.token_ids):
            raise ValueError(
                f"{other.model} reads the text as {len(other.token_ids)} tokens and {first.model} "
                f"as {len(first.token_ids)}, or as others. Models are compared token by token, so "
                "they must have one tokenizer. Make a page for each."
            )
    _check_size(explorations)
    vocabulary: dict[int, bytes] = {}
    for each in explorations:
        vocabulary |= each.vocabulary
    texts = {str(token): _text(data) for token, data in vocabulary.items()}
    return {
        "texts": {token: text for token, text in texts.items() if text is not None},
        "bytes": {
            str(token): data.hex(" ")
            for token, data in vocabulary.items()
            if texts[str(token)] is None
        },
        "explorations": [_packed(each) for each in explorations],
    }


def _packed(exploration: "Exploration") -> dict[str, Any]:
    """Returns one exploration."""
    lens = exploration.lens
    return {
        "model": exploration.model,
        "ids": exploration.token_ids.tolist(),
        "special": exploration.is_special.astype(int).tolist(),
        "logProbs": _numbers(exploration.log_probs),
        "ranks": exploration.ranks.tolist(),
        "entropies": _numbers(exploration.entropies),
        "candidateIds": _ids(exploration.candidate_ids),
        "candidateProbs": base64_of(exploration.candidate_probs, "<f4"),
        "points": lens.points,
        "lensIds": _ids(lens.ids[..., :_LENS_CANDIDATES]),
        "lensProbs": _probabilities(lens.probs[..., :_LENS_CANDIDATES]),
        "lensRanks": base64_of(lens.ranks, "<u4"),
        "lensKl": base64_of(lens.kl, "<f4"),
        "layers": list(exploration.layers),
        "heads": exploration.attention.shape[1],
        "attention": [pack_attention(layer) for layer in exploration.attention],
        "panels": None if exploration.panels is None else _packed_panels(exploration.panels),
    }


def _packed_panels(panels: "Panels") -> dict[str, Any]:
    """Returns attributions and ablations."""
    # A page of a long text has room for fewer: 144 heads of 256 tokens are 0.8 MB.
    k = _ABLATED_CANDIDATES if panels.ablated_ids.shape[2] <= _LONG else _ABLATED_CANDIDATES_OF_LONG
    ids, probs = panels.ablated_ids[..., :k], panels.ablated_probs[..., :k]
    return {
        "method": panels.method,
        "mode": panels.mode,
        "positions": panels.positions.tolist(),
        "foils": panels.foils.tolist(),
        "attributions": base64_of(panels.attributions, "<f4"),
        "contrasts": base64_of(panels.contrasts, "<f4"),
        "ablatedShape": list(ids.shape),
        "ablatedLogProbs": base64_of(panels.ablated_log_probs, "<f4"),
        "ablatedIds": _ids(ids),
        "ablatedProbs": _probabilities(probs),
    }


def pack_attention(weights: np.ndarray) -> dict[str, str]:
    """Returns the attention of a layer: the lower triangles in bytes, with a scale per row.

    A weight is its byte times the row's scale / 255 / 65535.

    Args:
        weights: Float array `(heads, time, time)`.
    """
    weights = weights.astype("float32")
    largest = weights.max(axis=-1, keepdims=True)  # (heads, time, 1)
    scales = np.ceil(largest * 65535)
    ratios = weights / np.maximum(scales / 65535, 1e-9)
    rows, columns = np.tril_indices(weights.shape[1])
    triangles = np.rint(ratios * 255)[:, rows, columns]  # (heads, time × (time + 1) / 2)
    return {"rows": base64_of(triangles, "u1"), "scales": base64_of(scales, "<u2")}


def _ids(token_ids: np.ndarray) -> dict[str, Any]:
    """Returns token ids, in two bytes each if they fit."""
    size = 2 if token_ids.max(initial=0) < 2**16 else 4
    return {"bytes": size, "data": base64_of(token_ids, f"<u{size}")}


def _probabilities(values: np.ndarray) -> str:
    """Returns probabilities in 65535ths."""
    return base64_of(np.rint(values * 65535), "<u2")


def base64_of(values: np.ndarray, dtype: str) -> str:
    """Returns the bytes of an array as another dtype, in base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def _check_size(explorations: Sequence["Exploration"]) -> None:
    """Raises an error if the attention of all explorations is too large for a page."""
    size = sum(_attention_bytes(each) for each in explorations)
    if size <= MAX_ATTENTION_BYTES:
        return
    layers, heads, time, _ = explorations[0].attention.shape
    fitting = max(1, layers * MAX_ATTENTION_BYTES // size)
    raise ValueError(
        f"The attention of {layers} layers of {heads} heads to {time} tokens "
        f"{'by ' + str(len(explorations)) + ' models ' if len(explorations) > 1 else ''}is "
        f"{size / 2**20:.0f} MB, and a page holds at most {MAX_ATTENTION_BYTES / 2**20:.0f}. "
        f"Choose up to {fitting} by `layers`, for example "
        f"{', '.join(map(str, range(layers)[-fitting:]))}, or a shorter text."
    )


def _attention_bytes(exploration: "Exploration") -> int:
    """Returns the size of the attention in base64."""
    layers, heads, time, _ = exploration.attention.shape
    return layers * heads * (time * (time + 1) // 2 + 2 * time) * 4 // 3


def _text(data: bytes) -> str | None:
    """Returns the text of a token; None of bytes that are none by themselves."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(each) else round(each, 4) for each in values.tolist()]
