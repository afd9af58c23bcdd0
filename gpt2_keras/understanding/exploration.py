"""What a model makes of a text, position by position, as data."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gpt2_keras.atomic import check_output_file, new_file
from gpt2_keras.understanding.lens import Lens

if TYPE_CHECKING:
    from gpt2_keras.understanding.panels import Panels

_VERSION = 1  # of the file that `save` writes


@dataclasses.dataclass(frozen=True)
class Exploration:
    """A text as a model sees it. Arrays have one entry per token, the start token included.

    Some say what the token is, given those before it; some what the model expects after it.

    Args:
        model: What the model is called: its shape, or the directory it came from.
        token_ids: Int32 array `(time,)`.
        tokens: The text of each token; bytes that are no character appear as U+FFFD.
        token_bytes: The bytes of each token.
        is_special: Bool array `(time,)`: the special tokens, of which no text consists.
        starts, ends: Int32 arrays `(time,)`: the characters of the text that a token is part of.
        log_probs: Float32 array `(time,)`: the log-probability of each token given those before
            it, in nats; NaN for the first.
        ranks: Int32 array `(time,)`: how many tokens were at least as likely in its place, itself
            included; 0 for the first.
        entropies: Float32 array `(time,)`: of the prediction after each token, in nats.
        candidate_ids, candidate_probs: Int32 and float32 arrays `(time, k)`: the most likely
            tokens after each, the most likely first.
        vocabulary: The bytes of every token that is named here, by id; of a model without
            tokenizer none.
        word_start_log_probs: Float32 array `(time,)`: the log-probability that what follows each
            token begins a new word or ends the text; see `words`.
        layers: The layers whose attention is kept.
        attention: Float16 array `(layers, heads, time, time)`: the weight that each position, in
            the third axis, gives to each.
        lens: The logit lens; its targets are the tokens that follow, and after the last one the
            most likely.
        panels: What was computed for the page beyond this, or None.
    """

    model: str
    token_ids: np.ndarray
    tokens: list[str]
    token_bytes: list[bytes]
    is_special: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    log_probs: np.ndarray
    ranks: np.ndarray
    entropies: np.ndarray
    candidate_ids: np.ndarray
    candidate_probs: np.ndarray
    vocabulary: dict[int, bytes]
    word_start_log_probs: np.ndarray
    layers: tuple[int, ...]
    attention: np.ndarray
    lens: Lens
    panels: "Panels | None" = None

    @property
    def bits(self) -> np.ndarray:
        """The surprisal of each token in bits, float32 `(time,)`; NaN for the first."""
        return -self.log_probs / np.float32(math.log(2))

    def token_text(self, token_id: int) -> str:
        """Returns the text of a token that is named here; of one without text its id in brackets.

        Bytes that are no character appear as U+FFFD.
        """
        data = self.vocabulary.get(token_id, b"")
        return data.decode(errors="replace") if data else f"[{token_id}]"

    def to_html(self, path: str | Path) -> Path:
        """Writes a page that shows it, in one file that asks nobody for anything.

        Args:
            path: The new file.

        Raises:
            FileExistsError: If the file exists.
            ValueError: If its attention is too large for a page.
        """
        from gpt2_keras.understanding.page import page_of

        check_output_file(path)
        page = page_of([self])
        with new_file(Path(path)) as unfinished:
            unfinished.write_text(page, encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        """Shows the page in a notebook, offline too."""
        from gpt2_keras.understanding.page import frame_of

        return frame_of([self])

    def save(self, path: str | Path) -> Path:
        """Writes the data to a NumPy archive, `.npz`, which `load` reads.

        Raises:
            FileExistsError: If the file exists.
        """
        check_output_file(path)
        arrays = {name: value for name, value in vars(self).items() if _is_array(value)}
        arrays |= {f"lens.{name}": value for name, value in vars(self.lens).items()}
        texts = {
            "version": _VERSION,
            "model": self.model,
            "tokens": self.tokens,
            "token_bytes": [each.hex() for each in self.token_bytes],
            "vocabulary": {str(token): data.hex() for token, data in self.vocabulary.items()},
            "layers": self.layers,
        }
        with new_file(Path(path)) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays, texts=np.array(json.dumps(texts)))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads what `save` wrote; without the panels.

        Raises:
            FileNotFoundError: If there is no file.
            ValueError: If it is none of `save`'s.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            texts = json.loads(str(arrays.pop("texts")))
            version = texts.pop("version")
        except (ValueError, KeyError, EOFError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(
                f"{path} is no exploration: {error}. `Exploration.save` writes one. Give its file."
            ) from error
        if version != _VERSION:
            raise ValueError(
                f"{path} has version {version}, and this gpt2_keras reads {_VERSION}. Use the "
                "version that wrote it, or explore again."
            )
        fields = {name: value for name, value in arrays.items() if not name.startswith("lens.")}
        lens = {name[5:]: value for name, value in arrays.items() if name not in fields}
        lens["points"] = lens["points"].tolist()
        texts["token_bytes"] = [bytes.fromhex(each) for each in texts["token_bytes"]]
        vocabulary = texts["vocabulary"].items()
        texts["vocabulary"] = {int(token): bytes.fromhex(data) for token, data in vocabulary}
        texts["layers"] = tuple(texts["layers"])
        return cls(**fields, **texts, lens=Lens(**lens))

    def to_dict(self) -> dict[str, Any]:
        """Returns the data as lists and numbers that JSON has, NaN as None.

        Probabilities and attention have five decimals; bytes are in hexadecimal.
        """
        lens = self.lens
        return {
            "model": self.model,
            "token_ids": self.token_ids.tolist(),
            "tokens": self.tokens,
            "token_bytes": [each.hex() for each in self.token_bytes],
            "starts": self.starts.tolist(),
            "ends": self.ends.tolist(),
            "log_probs": _numbers(self.log_probs),
            "ranks": [rank or None for rank in self.ranks.tolist()],
            "entropies": _numbers(self.entropies),
            "candidates": self._candidates(self.candidate_ids, self.candidate_probs),
            "word_start_log_probs": _numbers(self.word_start_log_probs),
            "layers": list(self.layers),
            "attention": _rounded(self.attention),
            "lens": {
                "points": lens.points,
                "candidates": [
                    self._candidates(*pair) for pair in zip(lens.ids, lens.probs, strict=True)
                ],
                "ranks": lens.ranks.tolist(),
                "kl": _rounded(lens.kl),
            },
        }

    def _candidates(self, ids: np.ndarray, probs: np.ndarray) -> list[list[dict[str, Any]]]:
        """Returns candidates of each position, `(time, k)`, in words."""
        return [
            [
                {"id": token, "token": self.token_text(token), "probability": probability}
                for token, probability in zip(row, values, strict=True)
            ]
            for row, values in zip(ids.tolist(), _rounded(probs), strict=True)
        ]


def character_spans(token_bytes: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns where in a text the characters are that tokens are part of.

    Args:
        token_bytes: The bytes of the text's tokens, in UTF-8 when joined.

    Returns:
        The first character of each token, and the one after its last, int32 `(tokens,)`.

    Example:
        >>> starts, ends = character_spans([b"a", b"\\xc3", b"\\xa9!"])
        >>> starts.tolist(), ends.tolist()
        ([0, 1, 1], [1, 2, 3])
    """
    data = np.frombuffer(b"".join(token_bytes), np.uint8)
    begins = (data & 0xC0) != 0x80  # bytes that continue a character are 10xxxxxx
    character = np.concatenate([[0], np.cumsum(begins)])  # characters begun before each byte
    edges = np.concatenate([[0], np.cumsum([len(each) for each in token_bytes], dtype=int)])
    first, last = edges[:-1], edges[1:]
    is_inside = np.append(~begins, False)[first]
    return (character[first] - is_inside).astype("int32"), character[last].astype("int32")


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if math.isnan(each) else each for each in values.tolist()]


def _rounded(values: np.ndarray) -> Any:
    return np.round(values.astype("float64"), 5).tolist()
