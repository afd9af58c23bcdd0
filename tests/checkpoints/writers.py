"""Writers of other systems' checkpoints that do not need these systems."""

import collections
import io
import json
import pickle
import struct
import sys
import types
import zipfile
from unittest import mock

import h5py
import ml_dtypes
import numpy as np

from tests.models import weights_of

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float64": "DoubleStorage",
}


class Storage:
    def __init__(self, array, key):
        self.type, self.key, self.size = STORAGES[array.dtype.name], key, array.size


def write_torch(path, contents, *, legacy=False):
    """Writes what `torch.save` does; NumPy arrays become tensors."""
    named = {
        ("torch._utils", "_rebuild_tensor_v2"): lambda *_: None,
        **{("torch", name): type(name, (), {}) for name in STORAGES.values()},
    }
    modules = {"torch": types.ModuleType("torch"), "torch._utils": types.ModuleType("torch._utils")}
    for (module, name), value in named.items():
        value.__module__, value.__qualname__, value.__name__ = module, name, name
        setattr(modules[module], name, value)
    arrays = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            storage_class = named["torch", value.type]
            legacy_view = (None,) if legacy else ()
            return ("storage", storage_class, value.key, "cpu", value.size, *legacy_view)

        def reducer_override(self, value):
            if not isinstance(value, np.ndarray):
                return NotImplemented
            arrays.append(value)
            stride = tuple(step // value.itemsize for step in value.strides)
            storage = Storage(value, str(len(arrays) - 1))
            hooks = collections.OrderedDict()
            arguments = (storage, 0, value.shape, stride, False, hooks)
            return named["torch._utils", "_rebuild_tensor_v2"], arguments

    def pickled(value):
        buffer = io.BytesIO()
        with mock.patch.dict(sys.modules, modules):
            Pickler(buffer, protocol=2).dump(value)
        return buffer.getvalue()

    body = pickled(contents)
    if legacy:
        head = [pickled(part) for part in (LEGACY_MAGIC, 1001, {"little_endian": True})]
        keys = [str(index) for index in range(len(arrays))]
        data = [struct.pack("<q", array.size) + array.tobytes("A") for array in arrays]
        path.write_bytes(b"".join([*head, body, pickled(keys), *data]))
        return
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        for index, array in enumerate(arrays):
            archive.writestr(f"archive/data/{index}", array.tobytes("A"))


def write_tf_h5(path, model):
    """Writes what `TFGPT2LMHeadModel.save_pretrained` of transformers 4 does."""
    with h5py.File(path, "w") as file:
        for name, array in weights_of(model).items():
            *parts, leaf = name.split(".")
            if parts[1] == "h":
                parts[1:3] = [f"h_._{parts[2]}"]
            if parts[-1].startswith("ln_"):
                leaf = {"weight": "gamma", "bias": "beta"}[leaf]
            elif leaf == "bias":
                array = array[None]
            elif parts[-1] == "wpe":
                leaf = "embeddings"
            file[f"transformer/tfgp_t2lm_head_model/{'/'.join(parts)}/{leaf}:0"] = array


def write_nanogpt(path, model, *, padding=0, bias=True, extra=None, **model_args):
    """Writes what nanoGPT's train.py does; Linear kernels are (out, in)."""
    config = model.config
    state = collections.OrderedDict()
    for name, array in weights_of(model).items():
        is_kernel = name.endswith(".weight") and array.ndim == 2 and ".h." in name
        if bias or not name.endswith(".bias"):
            state["_orig_mod." + name] = np.ascontiguousarray(array.T) if is_kernel else array
    table = state["_orig_mod.transformer.wte.weight"]
    padded = np.concatenate([table, np.full((padding, table.shape[1]), 7, "float32")])
    state["_orig_mod.transformer.wte.weight"] = state["_orig_mod.lm_head.weight"] = padded
    state.update(extra or {})
    arguments = {
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_embd": config.hidden_dim,
        "block_size": config.context_length,
        "bias": bias,
        "vocab_size": config.vocab_size + padding,
        "dropout": 0.0,
        **model_args,
    }
    contents = {"model": state, "optimizer": {"state": {}}, "model_args": arguments, "iter_num": 5}
    write_torch(path, contents)


def write_index(directory, name, files):
    """Writes the index of shards."""
    names = {tensor: file for file, tensors in files.items() for tensor in tensors}
    (directory / name).write_text(json.dumps({"metadata": {}, "weight_map": names}))


BFLOAT16 = ml_dtypes.bfloat16
