"""The files that the on-device benchmark loads, all with the same random weights."""

import subprocess
import sys
from pathlib import Path

from _workers import write_model

CONTEXT_LENGTH = 256
_EXPORT = (
    "import sys; from gpt2_keras import GPT2LM; folder, path, *_ = sys.argv[1:]\n"
    "GPT2LM.from_preset(folder + '/model').export(path, certificate=False,\n"
    f"    context_length={CONTEXT_LENGTH}, "
)
_QUANTIZE = (
    "import sys; from pathlib import Path; folder, path = map(Path, sys.argv[1:])\n"
    "from gpt2_keras.export.litert_quantization import quantize\n"
    "contents = (folder / 'float32.tflite').read_bytes()\n"
    "path.write_bytes(quantize(contents, path.stem))"
)
_CTRANSLATE2 = (
    "import sys, ctranslate2; folder, path = sys.argv[1:]\n"
    "converter = ctranslate2.converters.TransformersConverter(folder + '/model')\n"
    "dtype = 'int8' if path.endswith('int8') else 'float32'\n"
    "converter.convert(path, quantization=dtype)"
)
_KERAS_HUB = (
    "import sys, tempfile; folder, path = sys.argv[1:]\n"
    "import keras_hub; from gpt2_keras import GPT2LM; from gpt2_keras.checkpoints import *\n"
    "with tempfile.TemporaryDirectory() as name:\n"
    "    save_keras_hub(GPT2LM.from_preset(folder + '/model'), name + '/m')\n"
    "    hub = keras_hub.models.GPT2CausalLM.from_preset(name + '/m', preprocessor=None)\n"
    "hub.export(path, format='litert', verbose=False)"
)
_GGUF = (
    "import sys; from gpt2_keras import GPT2LM; from gpt2_keras.checkpoints import *\n"
    "folder, path = sys.argv[1:]\n"
    "save_gguf(GPT2LM.from_preset(folder + '/model'), path, dtype='float16')"
)
_GGUF_Q8 = (
    "import ctypes, sys, llama_cpp; folder, path = sys.argv[1:]\n"
    "options = llama_cpp.llama_model_quantize_default_params()\n"
    "options.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0\n"
    "whole = folder + '/llama_f16.gguf'\n"
    "sys.exit(llama_cpp.llama_model_quantize(whole.encode(), path.encode(), options))"
)
# Programs that take the folder and the path of the file to write.
PROGRAMS = {
    "float32.tflite": _EXPORT + "format='litert')",
    "float16.tflite": _QUANTIZE,
    "int8.tflite": _QUANTIZE,
    "int4.tflite": _QUANTIZE,
    "int8.litertlm": _EXPORT + "format='litertlm', dtype='int8')",
    "ctranslate2": _CTRANSLATE2,
    "ctranslate2_int8": _CTRANSLATE2,
    "keras_hub.tflite": _KERAS_HUB,
    "llama_f16.gguf": _GGUF,
    "llama_q8.gguf": _GGUF_Q8,
}
SOURCES = {
    "float16.tflite": "float32.tflite",
    "int8.tflite": "float32.tflite",
    "int4.tflite": "float32.tflite",
    "llama_q8.gguf": "llama_f16.gguf",
}


def write(path: Path) -> None:
    """Writes a file and its sources, unless they exist, each in its own process.

    Raises:
        RuntimeError: If the program fails; with the last line that it wrote.
    """
    if path.exists():
        return
    if not (path.parent / "model").is_dir():
        write_model(path.parent / "model")
    if path.name in SOURCES:
        write(path.parent / SOURCES[path.name])
    print(f"writing {path}", file=sys.stderr)
    command = [sys.executable, "-c", PROGRAMS[path.name], str(path.parent), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not path.exists():
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(lines[-1])
