import collections
import os
import pickle
import zipfile

import numpy as np
import pytest

from gpt2_keras.checkpoints.torch_files import UnsafePickleError, named_tensors, read_torch_file
from tests.checkpoints.writers import BFLOAT16, write_torch


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.bin"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", BFLOAT16, "float64"])
def test_tensors_of_either_layout_are_read(path, legacy, dtype):
    array = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    strided = np.asfortranarray(array)
    contents = collections.OrderedDict(a=array, t=strided, steps=7, args={"bias": True})
    write_torch(path, contents, legacy=legacy)
    read = read_torch_file(path)
    assert (read["steps"], read["args"]) == (7, {"bias": True})
    tensors = named_tensors(read)
    assert tensors["a"].shape == (3, 4)
    for name in ("a", "t"):
        assert tensors[name].read().dtype == np.dtype(dtype)
        np.testing.assert_array_equal(tensors[name].read(), array)


class Attack:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.open, (str(self.victim), os.O_CREAT)


@pytest.mark.parametrize("in_zip", [True, False])
def test_a_pickle_that_would_run_code_is_an_error_and_not_run(tmp_path, path, in_zip):
    victim = tmp_path / "touched"
    attack = pickle.dumps({"model": Attack(victim)})
    if in_zip:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", attack)
    else:
        path.write_bytes(attack)
    message = rf"^{path} would call posix.open, which was not done\. A checkpoint"
    with pytest.raises(UnsafePickleError, match=message):
        read_torch_file(path)
    assert not victim.exists()
    os.close(pickle.loads(attack)["model"])  # noqa: S301 -- the attack is a real one
    assert victim.exists()


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__"])
def test_a_pickle_that_would_call_a_builtin_is_an_error(path, name):
    path.write_bytes(b"cbuiltins\n" + name.encode() + b"\n(S'1'\ntR.")
    with pytest.raises(UnsafePickleError, match=f"would call builtins.{name}, "):
        read_torch_file(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.98])
def test_a_truncated_file_is_an_error(path, legacy, fraction):
    write_torch(path, {"a": np.zeros((64, 64), "float32")}, legacy=legacy)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(ValueError, match=rf"^{path} \(\d+ bytes\) is not a complete file of torch"):
        read_torch_file(path)["a"].read()


def test_a_tensor_outside_its_storage_is_an_error(path):
    write_torch(path, {"a": np.zeros((4, 4), "float32")})
    tensor = read_torch_file(path)["a"]
    for wrong in ({"shape": (5, 4)}, {"offset": 1}, {"offset": -1}, {"stride": (-4, 1)}):
        with pytest.raises(ValueError, match=r"a tensor of shape \(\d, 4\) exceeds its storage"):
            tensor._replace(**wrong).read()


def test_another_file_is_an_error(path):
    path.write_bytes(pickle.dumps([1]) * 5)
    with pytest.raises(ValueError, match="its magic number is another"):
        read_torch_file(path)
    path.write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"\(7 bytes\) is not a complete file of torch.save"):
        read_torch_file(path)
