"""The peers of the on-device benchmark: how each is loaded and called."""

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _device_files import CONTEXT_LENGTH, write

PROMPT_LENGTH, NEW_TOKENS = 32, 128
TEXT = " the" * PROMPT_LENGTH  # a token each
RUNNER = Path(__file__).resolve().parents[1] / "export" / "on_device" / "python" / "run.py"
HUB_STEPS = 8  # of KerasHub, at a second per step; the others run NEW_TOKENS - 1
Case = Callable[[], dict[str, float]]


class Peer(NamedTuple):
    """A peer.

    Args:
        name: Its name in the table.
        file: The file it loads, in the folder of artifacts.
        ours: The peer it is compared with, of the same type of weights.
        needs: The package that must be installed.
        load: Takes the path of the file and a number of threads.
    """

    name: str
    file: str
    ours: str
    needs: str
    load: Callable[[str, int], Case]


def random_prompt() -> np.ndarray:
    """Returns the ids of the prompt, int32 (PROMPT_LENGTH,); always the same."""
    return np.random.default_rng(0).integers(0, 50_000, PROMPT_LENGTH).astype(np.int32)


def load_litert(path: str, threads: int) -> Case:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    prefill, decode = map(interpreter.get_signature_runner, ("prefill", "decode"))
    generate = interpreter.get_signature_runner("generate")
    prompt = random_prompt()
    prefill(token_ids=prompt)

    def whole(count: int) -> float:
        start = time.perf_counter()
        answer = generate(
            text=np.frombuffer(TEXT.encode(), np.uint8),
            max_new_tokens=np.array([count], np.int32),
            temperature=np.zeros(1, np.float32),
            top_k=np.zeros(1, np.int32),
            seed=np.zeros(1, np.int32),
        )
        if answer["num_tokens"] != count:
            raise ValueError(
                f"num_tokens={answer['num_tokens']} is not {count}: the end token was generated. "
                "Use another TEXT."
            )
        return time.perf_counter() - start

    def run() -> dict[str, float]:
        start = time.perf_counter()
        logits = prefill(token_ids=prompt)["logits"]
        first = time.perf_counter()
        for position in range(PROMPT_LENGTH, PROMPT_LENGTH + NEW_TOKENS - 1):
            token = np.array([logits[0].argmax()], np.int32)
            logits = decode(token_id=token, position=np.array([position], np.int32))["logits"]
        end = time.perf_counter()
        inside = whole(NEW_TOKENS) - whole(1)
        return {"prefill": first - start, "decode": end - first, "generate": inside}

    return run


def load_runner(path: str, threads: int) -> Case:
    """Loads the runner in export/, which has the weights in memory once."""
    spec = importlib.util.spec_from_file_location("runner", RUNNER)
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    model = runner.DeviceModel(path, threads)
    prompt = random_prompt()
    model.prefill(prompt)

    def run() -> dict[str, float]:
        start = time.perf_counter()
        logits = model.prefill(prompt)
        first = time.perf_counter()
        for position in range(PROMPT_LENGTH, PROMPT_LENGTH + NEW_TOKENS - 1):
            logits = model.decode(int(logits.argmax()), position)
        decode = time.perf_counter() - first
        return {"prefill": first - start, "decode": decode, "generate": decode}

    return run


def by_two_lengths(seconds: Callable[[int], float]) -> Case:
    """Returns a case of a runtime that takes a prompt and a number of new tokens."""
    seconds(1)

    def run() -> dict[str, float]:
        first = seconds(1)
        decode = seconds(NEW_TOKENS) - first
        return {"prefill": first, "decode": decode, "generate": decode}

    return run


def load_litertlm(path: str, threads: int) -> Case:
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    cpu = litert_lm.Backend.CPU(thread_count=threads)
    engine = litert_lm.Engine(path, cache_dir=":nocache", backend=cpu)
    if len(engine.tokenize(TEXT)) != PROMPT_LENGTH:
        raise ValueError(
            f"TEXT has not {PROMPT_LENGTH} tokens in this tokenizer. Use another TEXT."
        )

    def seconds(count: int) -> float:
        with engine.create_session(
            apply_prompt_template=False,
            max_output_tokens=count,
            sampler_config=litert_lm.SamplerConfig(top_k=1),
        ) as session:
            start = time.perf_counter()
            session.run_prefill([TEXT])
            session.run_decode()
            return time.perf_counter() - start

    return by_two_lengths(seconds)


def load_ctranslate2(path: str, threads: int) -> Case:
    import ctranslate2

    generator = ctranslate2.Generator(path, intra_threads=threads)
    words = np.array(json.loads((Path(path) / "vocabulary.json").read_text()))
    prompt = words[random_prompt()].tolist()

    def seconds(count: int) -> float:
        options = {"max_length": count, "min_length": count, "sampling_topk": 1}
        start = time.perf_counter()
        generator.generate_batch([prompt], include_prompt_in_result=False, **options)
        return time.perf_counter() - start

    return by_two_lengths(seconds)


def load_llama_cpp(path: str, threads: int) -> Case:
    from llama_cpp import Llama

    model = Llama(
        path, n_ctx=CONTEXT_LENGTH, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    prompt = random_prompt().tolist()

    def read(tokens: Iterable[int]) -> int:
        model.eval(list(tokens))
        return model.sample(temp=0.0)

    def run() -> dict[str, float]:
        model.reset()
        start = time.perf_counter()
        token = read(prompt)
        first = time.perf_counter()
        for _ in range(NEW_TOKENS - 1):
            token = read([token])
        decode = time.perf_counter() - first
        return {"prefill": first - start, "decode": decode, "generate": decode}

    read(prompt)
    return run


def load_keras_hub(path: str, threads: int) -> Case:
    """Loads a file that returns the logits of a whole text; each token processes it again."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    logits = interpreter.get_signature_runner()

    def read(ids: np.ndarray) -> int:
        row = ids[np.newaxis]
        (answer,) = logits(token_ids=row, padding_mask=np.ones_like(row)).values()
        return int(answer[0, -1].argmax())

    def run() -> dict[str, float]:
        ids = random_prompt()
        start = time.perf_counter()
        read(ids)
        first = time.perf_counter() - start
        # Around the middle of the text: its cost grows with the length.
        ids = np.resize(ids, PROMPT_LENGTH + (NEW_TOKENS - HUB_STEPS) // 2)
        start = time.perf_counter()
        for _ in range(HUB_STEPS):
            ids = np.append(ids, np.int32(read(ids)))
        decode = (time.perf_counter() - start) * (NEW_TOKENS - 1) / HUB_STEPS
        return {"prefill": first, "decode": decode, "generate": decode}

    read(random_prompt())
    return run


PEERS = {
    "float32": Peer(
        "`.tflite`, float32", "float32.tflite", "float32", "ai_edge_litert", load_litert
    ),
    "float32_runner": Peer(
        "the same, in the runner", "float32.tflite", "float32_runner", "ai_edge_litert", load_runner
    ),
    "ctranslate2": Peer("CTranslate2", "ctranslate2", "float32", "ctranslate2", load_ctranslate2),
    "keras_hub": Peer(
        "KerasHub's `.tflite`, no cache", "keras_hub.tflite", "float32", "keras_hub", load_keras_hub
    ),
    "float16": Peer(
        "`.tflite`, float16", "float16.tflite", "float16", "litert_quantizer", load_litert
    ),
    "llama_f16": Peer("llama.cpp, f16", "llama_f16.gguf", "float16", "llama_cpp", load_llama_cpp),
    "int8": Peer("`.tflite`, int8", "int8.tflite", "int8", "litert_quantizer", load_litert),
    "int8_runner": Peer(
        "the same, in the runner", "int8.tflite", "int8_runner", "litert_quantizer", load_runner
    ),
    "litertlm": Peer("`.litertlm`, int8", "int8.litertlm", "int8", "litert_lm", load_litertlm),
    "ctranslate2_int8": Peer(
        "CTranslate2, int8", "ctranslate2_int8", "int8", "ctranslate2", load_ctranslate2
    ),
    "llama_q8": Peer("llama.cpp, q8_0", "llama_q8.gguf", "int8", "llama_cpp", load_llama_cpp),
    "int4": Peer("`.tflite`, int4", "int4.tflite", "int4", "litert_quantizer", load_litert),
}


def prepared(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Writes the files that the peers load, unless they exist; returns their paths by peer.

    A peer that is not installed, or whose file cannot be written, is left out with a
    line on stderr.
    """
    paths = {}
    for name in names:
        peer = PEERS[name]
        if importlib.util.find_spec(peer.needs) is None:
            print(f"{name} is left out: {peer.needs} is not installed", file=sys.stderr)
            continue
        try:
            write(folder / peer.file)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        paths[name] = folder / peer.file
    return paths


def load(name: str, path: str, threads: int) -> Case:
    """Loads a peer and runs it once."""
    return PEERS[name].load(path, threads)
