"""Files that PyTorch and llama.cpp's library write or read."""

import os
import pickle

import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_gguf
from gpt2_keras.checkpoints.torch_files import UnsafePickleError, named_tensors, read_torch_file
from tests.checkpoints.test_huggingface_files import assert_same_weights
from tests.models import random_ids, text_model, weights_of
from tests.test_model import ROUNDING

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("zipped", [True, False])
def test_our_reader_agrees_with_torch_load(tmp_path, zipped):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 5, generator=generator)
    contents = {
        "plain": base,
        "view": base[2:, 1:4],
        "transposed": base.t(),
        "shared": base,
        "parameter": torch.nn.Parameter(base.clone()),
        "scalar": torch.tensor(3.5),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "long": torch.arange(4),
        "bool": base > 0,
    }
    path = tmp_path / "file.pt"
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    found = named_tensors(read_torch_file(path))
    assert found.keys() == contents.keys()
    for name, tensor in contents.items():
        value = tensor.detach()
        value = value.float() if value.dtype == torch.bfloat16 else value
        read = found[name].read()
        np.testing.assert_array_equal(read.astype(value.numpy().dtype), value.numpy())


def test_a_pickled_model_object_is_an_error(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(UnsafePickleError, match=r"would call torch.nn.modules.linear.Linear, "):
        read_torch_file(tmp_path / "model.pt")


def test_an_attack_in_a_file_of_torch_save_is_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'touched'}",)

    torch.save({"model": Attack()}, tmp_path / "ckpt.pt")
    with pytest.raises(UnsafePickleError, match=r"would call posix.system, which was not done\."):
        GPT2LM.from_preset(tmp_path)
    assert not (tmp_path / "touched").exists()
    with pytest.raises(pickle.UnpicklingError):  # torch itself raises an error too
        torch.load(tmp_path / "ckpt.pt", weights_only=True)


class Block(torch.nn.Module):
    """A block by nanoGPT's names, in its own layout."""

    def __init__(self, width, bias):
        super().__init__()
        self.ln_1 = torch.nn.LayerNorm(width, bias=bias)
        self.attn = torch.nn.ModuleDict(
            {
                "c_attn": torch.nn.Linear(width, 3 * width, bias=bias),
                "c_proj": torch.nn.Linear(width, width, bias=bias),
            }
        )
        self.ln_2 = torch.nn.LayerNorm(width, bias=bias)
        self.mlp = torch.nn.ModuleDict(
            {
                "c_fc": torch.nn.Linear(width, 4 * width, bias=bias),
                "c_proj": torch.nn.Linear(4 * width, width, bias=bias),
            }
        )


class NanoGPT(torch.nn.Module):
    """GPT-2 by nanoGPT's names, with nanoGPT's `exact` GELU or GPT-2's."""

    def __init__(self, vocab, context, layers, heads, width, bias, exact):
        super().__init__()
        self.heads, self.gelu = heads, torch.nn.GELU("none" if exact else "tanh")
        self.transformer = torch.nn.ModuleDict(
            {
                "wte": torch.nn.Embedding(vocab, width),
                "wpe": torch.nn.Embedding(context, width),
                "h": torch.nn.ModuleList([Block(width, bias) for _ in range(layers)]),
                "ln_f": torch.nn.LayerNorm(width, bias=bias),
            }
        )
        self.lm_head = torch.nn.Linear(width, vocab, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, ids):
        batch, time = ids.shape
        x = self.transformer.wte(ids) + self.transformer.wpe(torch.arange(time))
        for block in self.transformer.h:
            q, k, v = (
                part.view(batch, time, self.heads, -1).transpose(1, 2)
                for part in block.attn.c_attn(block.ln_1(x)).chunk(3, dim=-1)
            )
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + block.attn.c_proj(mixed.transpose(1, 2).reshape(batch, time, -1))
            x = x + block.mlp.c_proj(self.gelu(block.mlp.c_fc(block.ln_2(x))))
        return self.lm_head(self.transformer.ln_f(x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("exact", [False, True])
def test_a_nanogpt_checkpoint_computes_the_same(tmp_path, bias, exact):
    torch.manual_seed(0)
    sizes = {"n_layer": 3, "n_head": 4, "n_embd": 64, "block_size": 32, "vocab_size": 320}
    model = NanoGPT(320, 32, 3, 4, 64, bias, exact)
    contents = {
        "model": {"_orig_mod." + name: value for name, value in model.state_dict().items()},
        "optimizer": torch.optim.AdamW(model.parameters()).state_dict(),
        "model_args": {**sizes, "bias": bias, "dropout": 0.0},
        "iter_num": 100,
        "best_val_loss": torch.tensor(1.5),
        "config": {"out_dir": "out", "learning_rate": 1e-3},
    }
    torch.save(contents, tmp_path / "ckpt.pt")
    ours = GPT2LM.from_preset(tmp_path / "ckpt.pt")
    ids = random_ids((2, 30))
    with torch.no_grad():
        expected = model(torch.tensor(ids).long()).numpy()
    difference = np.abs(np.array(ours(ids)) - expected).max() / np.abs(expected).max()
    # The two forms of GELU differ by up to 4.7e-4, which the later layers scale.
    assert difference <= (1e-3 if exact else ROUNDING)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_gguf_file_is_read_by_transformers(tmp_path, dtype):
    pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    model = text_model(context_length=1024)  # what transformers assumes for such a file
    save_gguf(model, tmp_path / "model.gguf", dtype=dtype)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    ids = random_ids((2, 16), model.config)
    with torch.no_grad():
        expected = theirs(torch.tensor(ids).long()).logits.float().numpy()
    # float16 rounds each weight by up to 2**-11 of itself. As in ROUNDING, some 200 of these
    # errors add up at random: √200 · 2**-11 = 7e-3 of the largest logit.
    tolerance = ROUNDING if dtype == "float32" else 1e-2
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model(ids), expected, rtol=0, atol=tolerance * scale)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    text = "the cat sat, it's 42!"
    assert tokenizer(text).input_ids == model.tokenizer.encode(text)


def test_the_weights_in_a_gguf_file_are_equal_bit_for_bit(tmp_path):
    gguf = pytest.importorskip("gguf")
    model = text_model()
    save_gguf(model, tmp_path / "model.gguf")
    tensors = {
        tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors
    }
    weights = weights_of(model)
    assert len(tensors) == len(weights)
    np.testing.assert_array_equal(tensors["token_embd.weight"], weights["transformer.wte.weight"])
    kernel = weights["transformer.h.1.mlp.c_fc.weight"]
    np.testing.assert_array_equal(tensors["blk.1.ffn_up.weight"], kernel.T)
    bias = weights["transformer.h.0.attn.c_attn.bias"]
    np.testing.assert_array_equal(tensors["blk.0.attn_qkv.bias"], bias)


def test_a_round_trip_through_the_formats_of_keras_hub_and_openai_is_the_identity(tmp_path):
    from gpt2_keras.checkpoints import save_keras_hub, save_openai

    model = text_model()
    save_keras_hub(model, tmp_path / "hub")
    save_openai(GPT2LM.from_preset(tmp_path / "hub"), tmp_path / "openai")
    GPT2LM.from_preset(tmp_path / "openai").save_to_preset(tmp_path / "ours")
    assert_same_weights(GPT2LM.from_preset(tmp_path / "ours"), weights_of(model))
