"""Files made to harm: nothing is run, nothing outside the directory is read, memory is bounded."""

import collections
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from gpt2_keras import GPT2LM
from gpt2_keras.checkpoints import save_keras_hub, save_openai
from gpt2_keras.checkpoints.torch_files import read_torch_file
from gpt2_keras.finetuning import enable_lora, load_adapter, save_adapter
from tests.checkpoints.test_wrong_json import is_ours
from tests.checkpoints.writers import write_tf_h5, write_torch
from tests.models import text_model, weights_of

SECRET = b"a secret of another directory. " * 40


@pytest.fixture(scope="module")
def model():
    return text_model(num_layers=1)


@pytest.fixture
def directory(model, tmp_path):
    """A model directory; its weights are in `model.safetensors`."""
    model.save_to_preset(tmp_path / "model")
    return tmp_path / "model"


def peak_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.fixture
def bounded_memory():
    """Fails a test that takes more than 256 MiB."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = peak_kib()
    yield
    assert peak_kib() - before < 256 * 1024


pytestmark = pytest.mark.usefixtures("bounded_memory")


# Pickles. Each attack calls `os.open` on a file if it is loaded by Python's own unpickler; the
# opcodes are those of `pickletools`.


def reduce_(victim):
    return b"cposix\nopen\n(S'%s'\nI66\ntR." % victim


def stack_global(victim):
    module, name = pickle.SHORT_BINUNICODE + b"\x05posix", pickle.SHORT_BINUNICODE + b"\x04open"
    return pickle.PROTO + b"\x04" + module + name + pickle.STACK_GLOBAL + (
        b"(S'%s'\nI66\ntR." % victim
    )  # fmt: skip


def inst(victim):
    return b"(S'%s'\nI66\niposix\nopen\n." % victim


def obj(victim):
    return b"(cposix\nopen\nS'%s'\nI66\no." % victim


def build(victim):
    """Sets `items` of an allowed container to a call."""
    return b"ccollections\nOrderedDict\n)R(dS'items'\nc__main__\nopen\nsb."


def attribute_of_an_allowed_name(victim):
    name = pickle.SHORT_BINUNICODE + bytes([21]) + b"OrderedDict.__class__"
    module = pickle.SHORT_BINUNICODE + b"\x0bcollections"
    return pickle.PROTO + b"\x04" + module + name + pickle.STACK_GLOBAL + b")R."


def allowed_module(victim):
    return b"ctorch._utils\n_import_dotted_name\n(S'posix.open'\ntR."


def loads_another(victim):
    return b"ctorch\nload\n(S'%s'\ntR." % victim


def from_the_package_itself(victim):
    return b"cgpt2_keras.checkpoints.torch_files\npickle.loads\n(S'%s'\ntR." % victim


PICKLES = [reduce_, stack_global, inst, obj, build, attribute_of_an_allowed_name, allowed_module,
           loads_another, from_the_package_itself]  # fmt: skip


@pytest.mark.parametrize("in_zip", [True, False])
@pytest.mark.parametrize("attack", PICKLES)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "ckpt.pt"])
def test_a_pickle_that_calls_is_refused(directory, tmp_path, attack, in_zip, name):
    victim = tmp_path / "touched"
    data = attack(str(victim).encode())
    (directory / "model.safetensors").unlink()
    if name == "ckpt.pt":
        (directory / "config.json").unlink()
    if in_zip:
        with zipfile.ZipFile(directory / name, "w") as archive:
            archive.writestr("archive/data.pkl", data)
    else:
        (directory / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"would call .*, which was not done"):
        GPT2LM.from_preset(directory)
    assert not victim.exists()


@pytest.mark.parametrize("attack", [reduce_, stack_global, inst, obj])
def test_the_attacks_are_real_ones(tmp_path, attack):
    victim = tmp_path / "touched"
    os.close(pickle.loads(attack(str(victim).encode())))  # noqa: S301 -- that is the point
    assert victim.exists()


def persistent(*fields):
    """A pickle of one tensor whose storage has these fields instead of a dtype, key and size."""
    dtype, key, size = (pickle.dumps(field, 2)[2:-1] for field in fields)
    storage = b"(S'storage'\n" + dtype + key + b"S'cpu'\n" + size + b"tQ"
    shape = b"(I4\nI4\nt(I4\nI1\nt"
    return (
        b"(dS'a'\nctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"I0\n" + shape + b"I00\n(dtRs."
    )


STORAGES = [("O", "0", 16), ("float32", 0, 16), ("float32", [], 16), ("float32", "0", -1),
            ("float32", "0", 2**70), ("float32", "0", "16"), ("float32", "0", None),
            ("float32", "../0", 16), ("__file__", "0", 16), ([], "0", 16)]  # fmt: skip


@pytest.mark.parametrize("fields", STORAGES)
@pytest.mark.parametrize("in_zip", [True, False])
def test_storages_of_any_form_are_errors_of_ours(tmp_path, fields, in_zip):
    path = tmp_path / "weights.bin"
    if in_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", persistent(*fields))
            archive.writestr("archive/data/0", bytes(64))
    else:
        write_torch(path, {"a": np.zeros((4, 4), "float32")}, legacy=True)
        whole, body = path.read_bytes(), pickle.dumps({"little_endian": True}, 2)
        head = whole[: whole.index(body) + len(body)] if body in whole else whole[:60]
        path.write_bytes(head + persistent(*fields) + pickle.dumps(["0"], 2))
    with pytest.raises(ValueError, match=r"is not a complete file of torch.save") as caught:
        read_torch_file(path)["a"].read()
    assert is_ours(caught.value)


def test_well_formed_storages_are_read(tmp_path):
    """The frame of the test before, with nothing wrong."""
    path = tmp_path / "weights.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", persistent("float32", "0", 16))
        archive.writestr("archive/data/0", np.arange(16, dtype="float32").tobytes())
    assert read_torch_file(path)["a"].read()[3, 3] == 15


def test_a_zip_bomb_is_refused_unread(tmp_path):
    path = tmp_path / "weights.bin"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as stream,
    ):
        stream.write(b"X" + struct.pack("<I", 1 << 30))
        for _ in range(1024):
            stream.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    with pytest.raises(ValueError, match=r"its archive/data.pkl is compressed"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x05\x8e" + struct.pack("<Q", 1 << 45) + b"x",  # BINBYTES8 of 32 TiB
        b"\x80\x05\x8d" + struct.pack("<Q", 1 << 62) + b"x",  # BINUNICODE8
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"x",  # FRAME
        b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x",  # LONG4
        b"r\xff\xff\xff\x7f.",  # LONG_BINPUT without a stack
        b"Nr\xff\xff\xff\x0f.",  # a memo of 2^28 places
        b"Np268435456\n.",  # the same as text
    ],
)
def test_sizes_that_a_pickle_names_take_no_memory(tmp_path, data):
    path = tmp_path / "weights.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    with pytest.raises(ValueError, match=r"is not a complete file of torch.save") as caught:
        read_torch_file(path)
    assert is_ours(caught.value)


def test_tuples_in_tuples_do_not_overflow_the_stack(tmp_path):
    path = tmp_path / "weights.bin"
    nested = b")" + b"\x85" * 300_000
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}" + nested + b"Ns.")  # as a key
    with pytest.raises(ValueError, match=r"it has 300000 tuples"):
        read_torch_file(path)


def header(**tensors):
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


def entry(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


SAFETENSORS = {
    "header of 2^60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
    "header of 2^64 - 1 bytes": struct.pack("<Q", (1 << 64) - 1) + b"{}",
    "no header": b"",
    "overlapping": header(a=entry(), b=entry(offsets=(8, 24))) + bytes(24),
    "the same bytes twice": header(a=entry(), b=entry()) + bytes(16),
    "past the end": header(a=entry(offsets=(0, 1 << 40), shape=(1 << 38,))) + bytes(16),
    "negative": header(a=entry(offsets=(-16, 0))) + bytes(16),
    "backwards": header(a=entry(offsets=(16, 0))) + bytes(16),
    "unknown dtype": header(a=entry("F128")) + bytes(16),
    "shape that overflows": header(a=entry(shape=(1 << 33, 1 << 33))) + bytes(16),
    "shape that wraps to 16 bytes": header(a=entry(shape=(1 << 62, 4, 4))) + bytes(16),
    "a hole": header(a=entry(offsets=(16, 32))) + bytes(32),
    "nested": struct.pack("<Q", 20_000) + b'{"a":' * 4000,
    "not UTF-8": struct.pack("<Q", 4) + b"\xff\xfe{}",
    "other tensors": header(a=entry()) + bytes(16),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_wrong_safetensors_are_errors_of_ours(directory, case):
    (directory / "model.safetensors").write_bytes(SAFETENSORS[case])
    with pytest.raises(ValueError, match=r"model.safetensors") as caught:
        GPT2LM.from_preset(directory)
    assert is_ours(caught.value)


@pytest.mark.parametrize("dtype", ["I64", "I8", "U8", "BOOL", "F8_E4M3"])
def test_codes_of_a_quantisation_are_no_weights(directory, model, dtype):
    size = {"I64": 8}.get(dtype, 1)
    tensors, start = {}, 0
    for name, array in weights_of(model).items():
        end = start + size * array.size
        tensors[name], start = entry(dtype, array.shape, (start, end)), end
    (directory / "model.safetensors").write_bytes(header(**tensors) + bytes(start))
    with pytest.raises(ValueError, match=rf"has the dtype {dtype}. Weights are float64"):
        GPT2LM.from_preset(directory)


def test_codes_of_a_quantisation_in_an_h5_file_are_no_weights(directory, model, tmp_path):
    (directory / "model.safetensors").unlink()
    write_tf_h5(tmp_path / "floats.h5", model)

    def copy(name, item):
        if isinstance(item, h5py.Dataset):
            codes.create_dataset(name, data=item[()].astype("int8"))

    with (
        h5py.File(tmp_path / "floats.h5") as floats,
        h5py.File(directory / "tf_model.h5", "w") as codes,
    ):
        floats.visititems(copy)
    with pytest.raises(ValueError, match=r"has the dtype int8. Weights are float64"):
        GPT2LM.from_preset(directory)


H5_LINKS = {
    "external link": lambda file, secret: file.__setitem__(
        "transformer/x", h5py.ExternalLink(secret, "/data")
    ),
    "soft link": lambda file, secret: file.__setitem__("transformer/x", h5py.SoftLink("/top")),
    "dangling link": lambda file, secret: file.__setitem__("x", h5py.ExternalLink("none.h5", "/")),
}


def external_storage(file, secret):
    shape = (len(SECRET) // 4,)
    file.create_dataset("transformer/y", shape, "float32", external=[(secret, 0, len(SECRET))])


def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource(secret, "data", (4,))
    file.create_virtual_dataset("transformer/y", layout)


@pytest.mark.parametrize("case", [*H5_LINKS, "external storage", "virtual dataset"])
@pytest.mark.parametrize("system", ["Hugging Face", "KerasHub"])
def test_an_h5_file_that_names_another_is_refused(model, directory, tmp_path, case, system):
    secret = str(tmp_path / "secret.h5")
    Path(secret).write_bytes(SECRET)
    if system == "KerasHub":
        directory = tmp_path / "preset"
        save_keras_hub(model, directory)
        path = directory / "model.weights.h5"
    else:
        (directory / "model.safetensors").unlink()
        path = directory / "tf_model.h5"
        write_tf_h5(path, model)
    attack = {"external storage": external_storage, "virtual dataset": virtual, **H5_LINKS}[case]
    with h5py.File(path, "a") as file:
        attack(file, secret)
    with pytest.raises(ValueError, match=r"would read another file at .*, which was not done"):
        GPT2LM.from_preset(directory)


def test_h5_datasets_without_bytes_take_no_memory(directory):
    """A chunked dataset that was never written has any size, and no bytes on disk."""
    (directory / "model.safetensors").unlink()
    config = json.loads((directory / "config.json").read_text())
    config |= {"n_positions": 10**9}
    (directory / "config.json").write_text(json.dumps(config))
    with h5py.File(directory / "tf_model.h5", "w") as file:
        shape = (10**9, config["n_embd"])
        file.create_dataset("transformer/wpe/embeddings:0", shape, "float32", chunks=(1024, 16))
    with pytest.raises(ValueError, match=r"16,\d{3},\d{3},\d{3} weights, and all files there have"):
        GPT2LM.from_preset(directory)


@pytest.mark.parametrize(
    "sizes",
    [{"n_layer": 10**12}, {"n_positions": 10**12}, {"vocab_size": 10**12}, {"n_inner": 10**12},
     {"n_embd": 10**12}, {"n_embd": 10**12, "n_head": 10**12},
     {"n_positions": 10**12, "gpt2_keras_position_embedding": "sinusoidal"}],
)  # fmt: skip
def test_sizes_that_a_config_names_take_no_memory(directory, sizes):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, **sizes}))
    with pytest.raises(ValueError, match=r"weights, and all files there have \d+,\d+ bytes"):
        GPT2LM.from_preset(directory)


@pytest.mark.parametrize("save", [save_openai, save_keras_hub])
def test_sizes_that_another_system_names_take_no_memory(model, tmp_path, save):
    save(model, tmp_path / "model")
    name, key = ("hparams.json", "n_ctx") if save is save_openai else ("config.json", None)
    contents = json.loads((tmp_path / "model" / name).read_text())
    if key is None:
        contents["config"]["max_sequence_length"] = 10**12
    else:
        contents[key] = 10**12
    (tmp_path / "model" / name).write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=r"weights, and all files there have"):
        GPT2LM.from_preset(tmp_path / "model")


def test_sizes_that_a_pickle_of_nanogpt_names_take_no_memory(tmp_path):
    sizes = {"vocab_size": 300, "block_size": 10**12, "n_layer": 1, "n_head": 1, "n_embd": 8}
    write_torch(tmp_path / "ckpt.pt", {"model": {}, "model_args": sizes})
    with pytest.raises(ValueError, match=r"weights, and all files there have"):
        GPT2LM.from_preset(tmp_path)


def test_the_rank_that_an_adapter_names_takes_no_memory(tmp_path):
    model = text_model(num_layers=1)
    enable_lora(model, 2)
    save_adapter(model, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 10**12}))
    with pytest.raises(ValueError, match=r"has r=1000000000000, and .* has base_model.model"):
        load_adapter(text_model(num_layers=1), tmp_path / "adapter")


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "", ".", "..", 5, None])
def test_an_index_names_files_of_its_own_directory_only(directory, name):
    (directory / "model.safetensors").rename(directory.parent / "secret.safetensors")
    index = {"weight_map": {"transformer.wte.weight": name}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"maps names of tensors to names of files beside"):
        GPT2LM.from_preset(directory)


def test_the_state_file_of_a_tensorflow_checkpoint_names_files_of_its_directory_only(
    model, tmp_path
):
    save_openai(model, tmp_path / "secret")
    save_openai(text_model(seed=1, num_layers=1), tmp_path / "model")
    state = f'model_checkpoint_path: "{tmp_path}/secret/model.ckpt"\n'
    (tmp_path / "model" / "checkpoint").write_text(state)
    loaded = weights_of(GPT2LM.from_preset(tmp_path / "model"))
    assert not np.array_equal(loaded["transformer.wte.weight"], model.token_embedding.embeddings)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "model.safetensors"])
def test_links_to_devices_are_no_files(directory, name):
    (directory / name).unlink()
    (directory / name).symlink_to("/dev/zero")
    if name == "vocab.json":
        (directory / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError):
        GPT2LM.from_preset(directory)


def test_links_to_other_files_are_read_as_what_they_should_be(directory, tmp_path):
    """Downloads of Hugging Face are links into its cache, so links are followed."""
    (tmp_path / "secret").write_bytes(SECRET)
    for name in ("config.json", "model.safetensors", "vocab.json", "merges.txt"):
        kept = (directory / name).read_bytes()
        (directory / name).unlink()
        (directory / name).symlink_to(tmp_path / "secret")
        with pytest.raises(ValueError, match=name) as caught:
            GPT2LM.from_preset(directory)
        assert len(str(caught.value)) < 600
        (directory / name).unlink()
        (directory / name).write_bytes(kept)


def edited(path, change):
    """Rewrites the config of a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(contents["config.json"])
    change(config)
    contents["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)


def lambda_layer(victim):
    layer = keras.layers.Lambda(eval(f"lambda x: open({str(victim)!r}, 'w') and x"))  # noqa: S307
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.parametrize("place", ["tokenizer", "optimizer", "loss", "whole"])
def test_a_keras_file_with_code_is_refused(model, tmp_path, place):
    model.compile()
    path, victim = tmp_path / "model.keras", tmp_path / "touched"
    model.save(path)
    attack = lambda_layer(victim)

    def change(config):
        if place == "tokenizer":
            config["config"]["tokenizer"] = attack
        elif place == "whole":
            config.clear()
            config.update(attack)
        else:
            config["compile_config"][place] = attack

    edited(path, change)
    with pytest.raises((ValueError, TypeError)):
        keras.saving.load_model(path)
    assert not victim.exists()


def test_ordered_dictionaries_are_read(tmp_path):
    """What `torch.save` writes of a state: the refusals above are not of everything."""
    state = collections.OrderedDict(a=np.ones(3, "float32"))
    write_torch(tmp_path / "x.bin", state)
    assert read_torch_file(tmp_path / "x.bin")["a"].read().tolist() == [1, 1, 1]
