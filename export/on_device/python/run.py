"""Continues a text with a .tflite file, and streams it. Needs ai-edge-litert and NumPy alone.

python run.py model.tflite "Once upon a time" --temperature 0.8 --top-k 40 --seed 1
"""

import argparse
import codecs
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.options import CpuOptions, Options
from ai_edge_litert.tensor_buffer import TensorBuffer

_LOW_BITS = 0xFFFFFFFF
_TEXT_ONLY = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # no XNNPACK, no products
_IN_MEMORY = ":memory"  # XNNPACK's name for weights kept in no file


class DeviceModel:
    """The parts of a `.tflite` file, put together for a text that comes bit by bit.

    Args:
        path: The file.
        threads: How many to use; by default LiteRT's own choice.
        weight_cache: A file that keeps the weights as XNNPACK wants them. It is made at
            the first start; later ones are faster and take less memory. One for each
            `.tflite`: XNNPACK does not see that they belong together. By default none.
    """

    def __init__(
        self, path: str, threads: int | None = None, weight_cache: str | None = None
    ) -> None:
        # An interpreter has its own copy of the weights for each signature that needs them,
        # a compiled model one for all. Sizes that only the answer tells it does not give.
        text = Interpreter(path, experimental_op_resolver_type=_TEXT_ONLY)
        self._run = {name: text.get_signature_runner(name) for name in ("tokenize", "detokenize")}
        options = CpuOptions(
            num_threads=threads or 0, xnnpack_weight_cache_path=weight_cache or _IN_MEMORY
        )
        self._model = CompiledModel.from_file(
            path,
            options=Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=options),
        )
        metadata = read_metadata(path)
        self.context_length = metadata["config"]["context_length"]
        self.start_token_id = metadata["start_token_id"]
        self.end_token_ids = set(metadata["end_token_ids"])
        # Kept, as LiteRT does not give back the memory of a buffer.
        self._answers = {
            name: self._model.create_output_buffer_by_name(name, "logits")
            for name in ("prefill", "decode")
        }
        self._given = {
            name: self._model.create_input_buffer_by_name("decode", name)
            for name in ("token_id", "position")
        }
        shapes = self._model.get_output_tensor_details("decode")
        self.vocab_size = int(shapes["logits"]["shape"][-1])

    def prefill(self, token_ids: np.ndarray) -> np.ndarray:
        """Reads a prompt, int32 `(tokens,)`; returns the logits of the next, `(vocab,)`."""
        self._model.resize_input_tensor_by_name("prefill", "token_ids", [token_ids.size])
        given = self._model.create_input_buffer_by_name("prefill", "token_ids")
        given.write(token_ids)
        return self._logits("prefill", {"token_ids": given})

    def decode(self, token_id: int, position: int) -> np.ndarray:
        """Takes one more token, at a position; returns the logits of the next, `(vocab,)`."""
        self._given["token_id"].write(np.array([token_id], np.int32))
        self._given["position"].write(np.array([position], np.int32))
        return self._logits("decode", self._given)

    def _logits(self, signature: str, given: dict[str, TensorBuffer]) -> np.ndarray:
        logits = self._answers[signature]
        self._model.run_by_name(signature, given, {"logits": logits})
        return logits.read(self.vocab_size, np.float32)

    def bytes_of(self, token_id: int) -> bytes:
        """Returns the bytes of a token, which may be part of a character."""
        ids = np.array([token_id], np.int32)
        return self._run["detokenize"](token_ids=ids)["text_bytes"].tobytes()

    def stream(
        self,
        prompt: str,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_k: int = 0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yields the new text in deltas; none ends inside a character.

        Args:
            prompt: A text. If it does not fit, its last tokens are read.
            max_new_tokens: Largest number of new tokens; fewer if the context is full.
            temperature: 0 for the most likely token; the higher, the more random.
            top_k: Samples from the `top_k` most likely tokens; 0 from all.
            seed: The same seed gives the same text.
        """
        text = np.frombuffer(prompt.encode(), np.uint8)
        ids = self._run["tokenize"](text=text)["token_ids"][1 - self.context_length :]
        if not ids.size:
            ids = np.array([self.start_token_id], np.int32)
        logits = self.prefill(ids)
        characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
        limit = min(ids.size + max_new_tokens, self.context_length)
        for position in range(ids.size, limit):
            token_id = choose(logits, temperature, top_k, uniform(seed, position - ids.size))
            if token_id in self.end_token_ids:
                break
            yield characters.decode(self.bytes_of(token_id))
            logits = self.decode(token_id, position)
        yield characters.decode(b"", final=True)


def choose(logits: np.ndarray, temperature: float, top_k: int, uniform: float) -> int:
    """Returns a token id, sampled by a uniform number in [0, 1)."""
    if temperature == 0:
        return int(logits.argmax())
    logits = (logits - logits.max()) / np.float32(temperature)
    if 0 < top_k < logits.size:
        logits[logits < np.partition(logits, -top_k)[-top_k]] = -np.inf
    cumulative = np.exp(logits).cumsum()
    return int((cumulative <= np.float32(uniform) * cumulative[-1]).sum())


def uniform(seed: int, step: int) -> float:
    """Returns the number in [0, 1) that `generate` uses at a step: a hash of seed and step."""
    return (_mix(_mix(seed & _LOW_BITS) ^ (step * 0x9E3779B9 & _LOW_BITS)) >> 8) * 2.0**-24


def _mix(x: int) -> int:
    """Scatters 32 bits; lowbias32 of Chris Wellons, "Prospecting for Hash Functions" (2018)."""
    x = (x ^ x >> 16) * 0x7FEB352D & _LOW_BITS
    x = (x ^ x >> 15) * 0x846CA68B & _LOW_BITS
    return x ^ x >> 16


def read_metadata(path: str) -> dict:
    """Returns what the file says of itself."""
    model = schema.Model.GetRootAs(np.memmap(path, mode="r"))
    entries = {model.Metadata(i).Name(): model.Metadata(i) for i in range(model.MetadataLength())}
    buffer = model.Buffers(entries[b"gpt2_keras"].Buffer())
    return json.loads(buffer.DataAsNumpy().tobytes())


def _silence_litert() -> None:
    """Drops what LiteRT writes to stderr as it starts; Python's own errors are still seen."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help=".tflite file")
    parser.add_argument("prompt", nargs="?", default="", help="the beginning (default: none)")
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0: greedy")
    parser.add_argument("--top-k", type=int, default=0, metavar="K", help="0: all tokens")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--weight-cache", metavar="FILE", help="makes later starts faster")
    args = parser.parse_args()
    if not Path(args.model).is_file():
        parser.error(f"argument model: no such file: {args.model}")
    if args.temperature < 0 or args.top_k < 0 or args.max_new_tokens < 1:
        parser.error("--max-new-tokens must be at least 1, --temperature and --top-k at least 0")
    sys.stdout.reconfigure(encoding="utf-8")
    _silence_litert()
    model = DeviceModel(args.model, args.threads, args.weight_cache)
    print(args.prompt, end="", flush=True)
    settings = (args.max_new_tokens, args.temperature, args.top_k, args.seed)
    for delta in model.stream(args.prompt, *settings):
        print(delta, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
