"""GGUF files for llama.cpp, written by its own Python library."""

from pathlib import Path
from typing import Any

from gpt2_keras.atomic import new_file
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.layers.initializers import LAYER_NORM_EPSILON
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import spell

DTYPES = ("float32", "float16")


def save(model: GPT2Model, path: str | Path, *, dtype: str = "float32") -> None:
    """Writes a model as a GGUF file, which llama.cpp runs.

    Needs the library `gguf`: `pip install "gpt2-keras[gguf]"`.

    Args:
        model: The model, with a tokenizer.
        path: The new file, such as `model.gguf`.
        dtype: `"float32"` or `"float16"` for the embeddings of tokens and the
            kernels; the others are float32, as llama.cpp wants them.

    Raises:
        ValueError: If the model has no tokenizer, or the dtype is another.
        FileExistsError: If the file is there.
        ImportError: If `gguf` is not installed.

    Source: `GPT2Model` in ggml-org/llama.cpp `convert_hf_to_gguf.py`.
    """
    if dtype not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(DTYPES)}. Received: dtype={dtype!r}. "
            "Quantize the file further with llama.cpp's own tools."
        )
    tokenizer = model.require_tokenizer()
    if Path(path).exists():
        raise FileExistsError(
            f"Nothing is overwritten. Received: {path}, which is there. Name another file."
        )
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise ImportError(
            "GGUF files are written by llama.cpp's library. Received: gguf is not installed. "
            'Install it with `pip install "gpt2-keras[gguf]"`.'
        ) from error
    architecture = gguf.MODEL_ARCH.GPT2
    names = gguf.get_tensor_name_map(architecture, model.config.num_layers)
    with new_file(path) as unfinished:
        writer = gguf.GGUFWriter(unfinished, gguf.MODEL_ARCH_NAMES[architecture])
        _add_shape(writer, model)
        _add_tokenizer(writer, tokenizer)
        writer.add_file_type(
            gguf.LlamaFileType.ALL_F32 if dtype == "float32" else gguf.LlamaFileType.MOSTLY_F16
        )
        for name, stored in huggingface.stored_variables(model).items():
            # GGUF keeps a kernel as `nn.Linear` does, (out, in): ours.
            array = stored._replace(transposed=False).read()
            small = array.ndim == 1 or name.endswith("wpe.weight")
            writer.add_tensor(
                names.get_name(name, try_suffixes=(".weight", ".bias")),
                array if small else array.astype(dtype),
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _add_shape(writer: Any, model: GPT2Model) -> None:
    config = model.config
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_dim)
    writer.add_feed_forward_length(config.feed_forward_dim)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_layer_norm_eps(LAYER_NORM_EPSILON)


def _add_tokenizer(writer: Any, tokenizer: GPT2Tokenizer) -> None:
    import gguf

    special = set(tokenizer.special_tokens.values())
    raw = tokenizer.token_bytes
    tokens = [text.decode() if at in special else spell(text) for at, text in enumerate(raw)]
    kinds = [
        gguf.TokenType.CONTROL if at in special else gguf.TokenType.NORMAL
        for at in range(len(tokens))
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{tokens[left]} {tokens[right]}" for left, right in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.end_token_id)
    writer.add_eos_token_id(tokenizer.end_token_id)
    writer.add_add_bos_token(False)
