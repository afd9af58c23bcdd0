"""GGUF files for llama.cpp, written by its Python library."""

from pathlib import Path
from typing import Any

from gpt2_keras.atomic import check_output_file, new_file
from gpt2_keras.checkpoints import huggingface
from gpt2_keras.layers.initializers import LAYER_NORM_EPSILON
from gpt2_keras.model import GPT2Model
from gpt2_keras.tokenizer import GPT2Tokenizer
from gpt2_keras.tokenizer.byte_alphabet import spell
from gpt2_keras.validation import check_choice, check_path

DTYPES = ("float32", "float16")


def save(model: GPT2Model, path: str | Path, *, dtype: str = "float32") -> None:
    """Writes a model as a GGUF file, which llama.cpp runs.

    Needs the library `gguf`: `pip install "gpt2-keras[gguf]"`.

    Args:
        model: The model, with a tokenizer.
        path: The new file, such as `model.gguf`.
        dtype: `"float32"` or `"float16"`: the type of the token embeddings and the
            kernels. The other weights are float32, as llama.cpp needs them.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the model has no tokenizer, or the dtype is another.
        FileExistsError: If the file exists.
        ImportError: If `gguf` is not installed.

    Source: `GPT2Model` in ggml-org/llama.cpp `convert_hf_to_gguf.py`.
    """
    check_choice("dtype", dtype, DTYPES, advice="Quantize the file with llama.cpp's own tools.")
    tokenizer = model.require_tokenizer()
    check_output_file(check_path("path", path))
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise ImportError(
            "The library gguf, which writes GGUF files, is not installed. "
            'Install it with `pip install "gpt2-keras[gguf]"`.'
        ) from error
    architecture = gguf.MODEL_ARCH.GPT2
    names = gguf.get_tensor_name_map(architecture, model.config.num_layers)
    with new_file(path) as unfinished:
        writer = gguf.GGUFWriter(unfinished, gguf.MODEL_ARCH_NAMES[architecture])
        _add_shape(writer, model)
        _add_tokenizer(writer, tokenizer, model.end_token_ids)
        writer.add_file_type(
            gguf.LlamaFileType.ALL_F32 if dtype == "float32" else gguf.LlamaFileType.MOSTLY_F16
        )
        for name, stored in huggingface.stored_variables(model).items():
            # Kernels are (out, in) in GGUF, as in our layers.
            array = stored._replace(transposed=False).read()
            is_float32 = array.ndim == 1 or name.endswith("wpe.weight")
            writer.add_tensor(
                names.get_name(name, try_suffixes=(".weight", ".bias")),
                array if is_float32 else array.astype(dtype),
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


def _add_tokenizer(writer: Any, tokenizer: GPT2Tokenizer, end_token_ids: tuple[int, ...]) -> None:
    import gguf

    special = set(tokenizer.special_tokens.values())
    raw = tokenizer.token_bytes
    tokens = [raw[i].decode() if i in special else spell(raw[i]) for i in range(len(raw))]
    types = [gguf.TokenType.NORMAL] * len(tokens)
    for token, token_id in tokenizer.special_tokens.items():
        is_word = token in tokenizer.added_words
        types[token_id] = gguf.TokenType.USER_DEFINED if is_word else gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{tokens[left]} {tokens[right]}" for left, right in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.end_token_id)
    writer.add_eos_token_id(end_token_ids[0])
    if len(end_token_ids) > 1:  # the format has two: the end of a text, and of a turn
        writer.add_eot_token_id(end_token_ids[1])
    writer.add_add_bos_token(False)
