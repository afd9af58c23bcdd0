"""A `.litertlm` bundle as an artifact to compare, run by LiteRT-LM."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import GreedyText
from gpt2_keras.verification.litert_metadata import LiteRTBased

_MAX_NEW_TOKENS = 16


class LiteRTLMArtifact(LiteRTBased):
    """A `.litertlm` bundle of `litertlm.to_litertlm`.

    Raises:
        ImportError: If litert-lm is missing.
        ValueError: If the bundle cannot be loaded.
    """

    format = "litertlm"
    reads_text = True
    gives_logits = False

    def __init__(self, path: Path) -> None:
        self._litert_lm = require_litert_lm()
        # First: it says what is wrong with another file.
        self._engine = _engine(self._litert_lm, path)
        super().__init__(path, _tflite_inside(path))
        shape = self.contents.input_shape("decode", "kv_cache_k_0")
        self._cache_length = shape[2]  # of (1, heads, length, head_dim)
        self._overwrites: bool | None = None  # not tried yet

    def unsupported_strings(self, model: GPT2Model) -> tuple[str, ...]:
        """Returns NUL, which ends a string in C, and the special tokens, which it reads as such."""
        return ("\0", *model.require_tokenizer().special_tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the runtime's token ids of texts."""
        return [self._engine.tokenize(text) for text in texts]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns the runtime's texts of ids."""
        return [self._engine.detokenize(list(row)).encode() for row in rows]

    def max_new_tokens(self, model: GPT2Model) -> int:  # noqa: ARG002 -- the interface
        """Returns 16, or half a smaller context."""
        return max(1, min(_MAX_NEW_TOKENS, self._cache_length // 2))

    def generate_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[GreedyText]:
        """Returns the texts of a session each."""
        limit = self.max_new_tokens(model)
        generated = []
        for prompt in prompts:
            with self._session(limit) as session:
                session.run_prefill([prompt])
                (text,) = session.run_decode().texts
            # The runtime has samplers, but no penalties and bans.
            generated.append(GreedyText(prompt, prompt + text, limit, by_config=False))
        return generated

    def log_probs(self, texts: Sequence[str], model: GPT2Model) -> list[np.ndarray]:
        """Returns the scores of a session."""
        context = self._context(model.require_tokenizer().end_token_id)
        return [np.array(self._scores(context, text), np.float32) for text in texts]

    def context_length(self, model: GPT2Model) -> int:  # noqa: ARG002 -- the interface
        """Returns the number of tokens that the runtime scores: one less than the cache holds."""
        return self._cache_length - 1

    def _context(self, end_token_id: int) -> str:
        """The context in which a text is scored as one that follows a single end token.

        When it scores, litert-lm 0.18 overwrites the token before the last one of the
        context with the last one. With such a runtime, which gives the same scores
        whatever that token is, the context needs an end token more.
        """
        end: str = self._engine.detokenize([end_token_id])
        if self._overwrites is None:
            one, other = (self._scores(overwritten + end, "a") for overwritten in ("a", "b"))
            self._overwrites = one == other
        return end + end if self._overwrites else end

    def _scores(self, context: str, text: str) -> list[float]:
        """Returns the log-probability of each token of a text that follows a context."""
        with self._session(1) as session:
            session.run_prefill([context])
            (scores,) = session.run_text_scoring([text]).token_scores
        return list(scores)

    def _session(self, max_new_tokens: int) -> Any:
        """Returns a greedy session."""
        return self._engine.create_session(
            apply_prompt_template=False,
            max_output_tokens=max_new_tokens,
            sampler_config=self._litert_lm.SamplerConfig(top_k=1, temperature=1.0),
        )


def require_litert_lm() -> Any:
    """Returns LiteRT-LM.

    Raises:
        ImportError: If litert-lm is missing.
    """
    try:
        import litert_lm
    except ImportError as error:
        raise ImportError(
            "litert-lm is not installed, which the certificate of a .litertlm file needs. "
            "Run: pip install 'gpt2-keras[litertlm]', or use certificate=False."
        ) from error
    return litert_lm


def _engine(litert_lm: Any, path: Path) -> Any:
    """Returns the runtime with a bundle loaded, without a cache file beside it."""
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    try:
        return litert_lm.Engine(str(path), cache_dir=":nocache")
    except RuntimeError as error:
        raise ValueError(
            f"{path} is no .litertlm file that loads: {error}. Export it again."
        ) from error


def _tflite_inside(path: Path) -> np.ndarray:
    """Returns the `.tflite` file in a bundle, memory-mapped; uint8 (size,)."""
    from litert_lm_builder import litertlm_header_schema_py_generated as schema
    from litert_lm_builder.litertlm_peek import read_litertlm_header

    sections = read_litertlm_header(str(path), io.StringIO()).SectionMetadata()
    objects = map(sections.Objects, range(sections.ObjectsLength()))
    tflite = schema.AnySectionDataType.TFLiteModel
    (section,) = (each for each in objects if each.DataType() == tflite)
    return np.memmap(path, mode="r")[section.BeginOffset() : section.EndOffset()]
