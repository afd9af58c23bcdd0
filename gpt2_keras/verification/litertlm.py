"""A LiteRT-LM bundle as a certificate sees it, run by Google's own runtime."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpt2_keras.model import GPT2Model
from gpt2_keras.verification.artifact import Continuation
from gpt2_keras.verification.litert_metadata import LiteRTBased

_NEW_TOKENS = 16


class LiteRTLMArtifact(LiteRTBased):
    """A `.litertlm` bundle of `litertlm.to_litertlm`.

    Raises:
        ImportError: If litert-lm is missing.
        ValueError: If the bundle cannot be loaded.
    """

    kind = "litertlm"
    reads_text = True
    gives_logits = False

    def __init__(self, path: Path) -> None:
        self._litert_lm = require_litert_lm()
        # First: it says what is wrong with a file that is none.
        self._engine = _engine(self._litert_lm, path)
        super().__init__(path, _tflite_inside(path))
        shape = self.contents.input_shape("decode", "kv_cache_k_0")
        self._cache_length = shape[2]  # of (1, heads, length, head_dim)

    def unreadable(self, model: GPT2Model) -> tuple[str, ...]:
        """Returns NUL, which ends a text of C, and the special tokens, which it takes for such."""
        return ("\0", *model.require_tokenizer().special_tokens)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns what the runtime makes of texts."""
        return [self._engine.tokenize(text) for text in texts]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Returns what the runtime makes of ids."""
        return [self._engine.detokenize(list(row)).encode() for row in rows]

    def new_tokens(self, model: GPT2Model) -> int:  # noqa: ARG002 -- the interface
        """Returns 16, or half a smaller context."""
        return max(1, min(_NEW_TOKENS, self._cache_length // 2))

    def continue_greedily(self, prompts: Sequence[str], model: GPT2Model) -> list[Continuation]:
        """Returns what a session writes."""
        limit = self.new_tokens(model)
        continuations = []
        for prompt in prompts:
            with self._session(limit) as session:
                session.run_prefill([prompt])
                (text,) = session.run_decode().texts
            continuations.append(Continuation(prompt, prompt + text, limit))
        return continuations

    def log_probs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the scores of a session."""
        return [np.array(self._scores(self._beginning, text), np.float32) for text in texts]

    def context_length(self, model: GPT2Model) -> int:  # noqa: ARG002 -- the interface
        """Returns how many tokens the runtime scores: one less than the cache has places."""
        return self._cache_length - 1

    @functools.cached_property
    def _beginning(self) -> str:
        """What to read before a text, so that it is scored as one after an end token alone.

        When it scores, litert-lm 0.18 computes the last token that was read at the
        place of the one before it, which is lost. So there must be one to lose, if
        the runtime at hand does that: then texts after either are the same.
        """
        end: str = self._engine.detokenize(self._engine.eos_token_ids[0])
        one, other = (self._scores(lost + end, "a") for lost in ("a", "b"))
        return end + end if one == other else end

    def _scores(self, read: str, text: str) -> list[float]:
        """Returns the log-probability of each token of a text after what was read."""
        with self._session(1) as session:
            session.run_prefill([read])
            (scores,) = session.run_text_scoring([text]).token_scores
        return list(scores)

    def _session(self, new_tokens: int) -> Any:
        """Returns a session that takes the likeliest token."""
        return self._engine.create_session(
            apply_prompt_template=False,
            max_output_tokens=new_tokens,
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
            "A certificate of a .litertlm file needs litert-lm, which is not installed. "
            "Run: pip install 'gpt2-keras[litertlm]', or export without a certificate."
        ) from error
    return litert_lm


def _engine(litert_lm: Any, path: Path) -> Any:
    """Returns the runtime with a bundle loaded; it writes nothing beside it."""
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.FATAL)
    try:
        return litert_lm.Engine(str(path), cache_dir=":nocache")
    except RuntimeError as error:
        raise ValueError(
            f"A .litertlm file must load. Received: {path}: {error}. Export it again."
        ) from error


def _tflite_inside(path: Path) -> np.ndarray:
    """Returns the `.tflite` file in a bundle; uint8 (size,), not read but mapped."""
    from litert_lm_builder import litertlm_header_schema_py_generated as schema
    from litert_lm_builder.litertlm_peek import read_litertlm_header

    sections = read_litertlm_header(str(path), io.StringIO()).SectionMetadata()
    parts = map(sections.Objects, range(sections.ObjectsLength()))
    kind = schema.AnySectionDataType.TFLiteModel
    (part,) = (each for each in parts if each.DataType() == kind)
    return np.memmap(path, mode="r")[part.BeginOffset() : part.EndOffset()]
