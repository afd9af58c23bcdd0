"""Several devices and workers take the step that one device takes."""

import re
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from gpt2_keras import GPT2LM
from gpt2_keras.cli.main import main
from gpt2_keras.runs import RunDirectory, layout_map, open_strategy
from gpt2_keras.runs.setup import make_datasets, new_model, open_data, resolve
from gpt2_keras.runs.strategies import Strategy, TensorFlowStrategy
from tests.models import TINY, random_model
from tests.processes import assert_same, read_cases, run_cases, start_workers, wait_for
from tests.runs.runs import last_state
from tests.training import steps
from tests.training.tolerances import adamw_tolerance

ROOT = Path(__file__).resolve().parents[2]
# Sums over devices come in another order; the weights move by 3e-3 in these steps.
ATOL = adamw_tolerance(1e-3, steps.STEPS)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Two devices that share the batches of one; AdamW with clipping, unequal padding."""
    cases = {"two": {"strategy": "mirrored", "accumulation_steps": 2}}
    return run_cases(tmp_path_factory.mktemp("mirrored"), cases, TEST_CPUS="2")


def test_two_devices_equal_one(mirrored):
    assert_same(mirrored["two"], steps.reference(), ATOL)
    assert mirrored["two"]["logs"][1] > 1  # so clipping to 0.5 took part


@pytest.mark.slow
def test_two_devices_distill_as_one(tmp_path):
    # In a process of its own: TensorFlow's collectives of a second strategy have the keys of the
    # first, and want its shapes.
    student = {"distill": "teacher", "alpha_cos": 0.1}
    cases = {"student": {"strategy": "mirrored", "accumulation_steps": 2, **student}}
    found = run_cases(tmp_path, cases, TEST_CPUS="2")
    assert_same(found["student"], steps.train(student), ATOL)


@pytest.mark.slow
def test_dropout_and_bfloat16_train_on_two_devices(tmp_path):
    cases = {
        "bfloat16": {"strategy": "mirrored", "dtype": "mixed_bfloat16"},
        "dropout": {"strategy": "mirrored", "dropout_rate": 0.5, "remat": True},
    }
    for arrays in run_cases(tmp_path, cases, TEST_CPUS="2").values():
        assert all(np.isfinite(value).all() for value in arrays.values())


@pytest.mark.slow
def test_two_workers_equal_one_device(tmp_path):
    cases = tmp_path / "cases.json"
    cases.write_text('{"workers": {"strategy": "auto", "accumulation_steps": 2}}')
    outs = [tmp_path / f"{index}.npz" for index in range(2)]
    wait_for(start_workers([("-m", "tests.training.steps", out, cases) for out in outs]))
    for out in outs:
        assert_same(read_cases(out)["workers"], steps.reference(), ATOL)


@pytest.mark.slow
def test_a_run_of_two_workers_and_its_resumption_equal_those_of_one_device(prepared, tmp_path):
    files = ["--data", prepared / "shards", "--tokenizer", prepared / "tokenizer"]
    shape = ["--num-layers", 1, "--num-heads", 2, "--hidden-dim", 16, "--context-length", 8]
    options = ["--dropout", 0, "--batch-size", 4, "--evaluate-every", 3, "--schedule", "constant"]
    first = ["train", *files, *shape, *options, "--steps", 6, "--out"]
    again = ["train", "--resume", "--steps", 9, "--out"]
    for arguments in (first, again):
        assert main([*map(str, arguments), str(tmp_path / "one")]) == 0
        command = ("-m", "gpt2_keras.cli.main", *arguments, tmp_path / "two")
        wait_for(start_workers([command, command]))
    ours, theirs = last_state(tmp_path / "two"), last_state(tmp_path / "one")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        # Also the moments, the number of steps and the sums of the running loss.
        np.testing.assert_allclose(value, theirs[name], rtol=1e-4, atol=2e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [0, 1])
def test_a_signal_to_one_worker_stops_all_after_the_same_step(prepared, tmp_path, signalled):
    files = ["--data", prepared / "shards", "--tokenizer", prepared / "tokenizer"]
    shape = ["--num-layers", 1, "--num-heads", 2, "--hidden-dim", 16, "--context-length", 8]
    options = ["--batch-size", 4, "--checkpoint-every", 5, "--steps", 10**6]
    train = ["train", *files, *shape, *options, "--out", tmp_path / "run"]
    command = ("-m", "gpt2_keras.cli.main", *train)
    workers, run = start_workers([command, command]), RunDirectory(tmp_path / "run")
    while run.last_checkpoint() is None and not any(worker.poll() for worker in workers):
        time.sleep(0.1)
    workers[signalled].send_signal(signal.SIGINT)
    outputs = [worker.communicate(timeout=600)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [
        130 if index == signalled else 143 for index in range(2)
    ], outputs
    assert f"after step {run.progress().step}, which is saved" in outputs[0]


def test_one_device_is_what_auto_finds_here():
    assert open_strategy("auto") == open_strategy("none") == Strategy()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ring",), r"strategy='ring' is unknown\. Use one of 'auto', 'none', .*Use auto if in"),
        (("none", 0), r"model_parallel=0 is less than 1\. Use an integer of at least 1"),
        (("none", 2), r"model_parallel=2 needs JAX, and Keras' backend is tensorflow\. Set"),
        (("multi-worker",), r"strategy='multi-worker' finds no workers .*TF_CONFIG=None\. Set it"),
    ],
)
def test_an_impossible_strategy_is_an_error(arguments, message, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        open_strategy(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), r"strategy=3 is an int\. Use one of 'auto'"),
        (("none", True), r"model_parallel=True is a bool\. Use an integer"),
        (("none", 1.0), r"model_parallel=1\.0 is a float\. Use an integer"),
    ],
)
def test_a_strategy_of_a_wrong_type_is_an_error(arguments, message):
    with pytest.raises(TypeError, match=message):
        open_strategy(*arguments)


class TwoProcesses:
    """Stands for a `keras.distribution.ModelParallel` over two processes."""

    num_processes = 2

    def __init__(self, **_):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("auto", 3), r"model_parallel=3 with strategy='auto' does not divide 4 devices evenly\."),
        (("none", 2), r"model_parallel=2 with strategy='none' does not divide 4 devices evenly\."),
        (("auto", 2), r"model_parallel=2 lays .*of one process, and there are 2\. Use model_par"),
    ],
)
def test_an_impossible_layout_is_an_error(arguments, message, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    cpus = [f"cpu:{index}" for index in range(4)]
    monkeypatch.setattr(keras.distribution, "list_devices", lambda _: cpus)
    monkeypatch.setattr(keras.distribution, "ModelParallel", TwoProcesses)
    with pytest.raises(ValueError, match=message):
        open_strategy(*arguments)


def test_an_indivisible_batch_or_model_is_an_error(make_settings):
    settings = make_settings(batch_size=6)
    shards, tokenizer = open_data(settings)
    model = new_model(GPT2LM, settings, tokenizer)
    with pytest.raises(
        ValueError, match=r"batch_size=6 is not divisible .* 4\. Use, .* batch_size=8\."
    ):
        make_datasets(settings, shards, model, 0, Strategy(num_replicas=4, num_devices=4))
    with pytest.raises(
        ValueError, match=r"model_parallel=4 does not divide num_heads=2\. Use, .*=2\."
    ):
        make_datasets(settings, shards, model, 0, Strategy(num_replicas=1, num_devices=4))
    many = resolve(make_settings(batch_size=512), model)
    with pytest.raises(
        ValueError, match=r"has \d+ windows, fewer than the 512 devices, .*Use more"
    ):
        make_datasets(many, shards, model, 0, Strategy(num_replicas=512, num_devices=512))


def test_float16_on_several_devices_is_an_error():
    two = TensorFlowStrategy(num_replicas=2, num_devices=2)
    message = r"dtype='mixed_float16' trains on one device .* there are 2\. Use mixed_bfloat16"
    with pytest.raises(ValueError, match=message):
        two.check(TINY, 4, "mixed_float16")
    two.check(TINY, 4, "mixed_bfloat16")


def test_every_large_weight_has_a_layout():
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), ["cpu:0", "cpu:1"])
    layouts = layout_map(mesh)
    split = {w.path.split("/")[-2]: layouts[w.path].axes for w in random_model().weights
           if layouts[w.path] is not None and w.path.split("/")[-1] != "bias"}  # fmt: skip
    assert split == {
        "qkv": ("model", None),
        "expand": ("model", None),
        "output_projection": (None, "model"),
        "project": (None, "model"),
        "token_embedding": (None, "model"),
    }


# The page and the manifest.

PAGE = ROOT / "docs" / "distributed.md"
MANIFEST = ROOT / "examples" / "kubernetes" / "train.yaml"


def test_the_job_starts_as_many_workers_as_its_cluster_has():
    service, job = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 2
    pod = spec["template"]["spec"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["name"] == pod["subdomain"]
    (container,) = pod["containers"]
    script = container["command"][-1]
    hosts = re.findall(r'"([\w-]+)\.([\w-]+):(\d+)"', script)
    assert hosts == [(f"{job['metadata']['name']}-{i}", pod["subdomain"], "2222") for i in range(2)]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert all(f"{mount}/" in script for mount in mounts - {"/dev/shm"})  # noqa: S108
    assert "--resume" in script


def test_flags_of_the_page_and_the_job_are_those_of_the_command():
    from gpt2_keras.cli.main import _parser

    (train,) = (
        action.choices["train"]
        for action in _parser()._actions
        if isinstance(action.choices, dict) and "train" in action.choices
    )
    known = set(train._option_string_actions)
    texts = [PAGE.read_text(encoding="utf-8"), MANIFEST.read_text(encoding="utf-8")]
    flags = {flag for text in texts for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    assert {"--strategy", "--model-parallel", "--accumulation-steps", "--remat"} <= flags
    assert flags - known <= {"--xla"}
