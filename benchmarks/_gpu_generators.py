"""The peers of the GPU benchmark that generate: each continues prompts of random ids.

Run as a program, it generates in this process and prints the result as a line of JSON. All
have the shape of GPT-2 124M, or a tiny one, with random weights in bfloat16; decoding is greedy,
and no peer stops early.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _trainers import keras_device, torch_device
from _turns import Job


def timed(generate: Callable[[int], Any], steps: int) -> dict[str, float]:
    """Returns the time of the first token and the rate of the others, the best of two calls.

    Args:
        generate: Generates so many tokens and waits for them.
        steps: Number of tokens.
    """
    begin = time.perf_counter()
    generate(steps)
    first_call = time.perf_counter() - begin
    generate(1)  # compiles what a text of one token needs
    prefill, whole = [], []
    for _ in range(2):
        begin = time.perf_counter()
        generate(1)
        middle = time.perf_counter()
        generate(steps)
        prefill.append(middle - begin)
        whole.append(time.perf_counter() - middle)
    return {
        "first_token_seconds": min(prefill),
        "steps_per_second": (steps - 1) / (min(whole) - min(prefill)),
        "first_step_seconds": first_call,
    }


def generate_gpt2_keras(job: Job) -> dict[str, Any]:
    import keras

    keras.config.set_dtype_policy("bfloat16")
    from gpt2_keras import GPT2LM, GPT2Config
    from gpt2_keras.generation.jax_functions import compile_model
    from gpt2_keras.generation.logits_processors import processor_tensors
    from gpt2_keras.generation.prefix_cache import no_prefix
    from gpt2_keras.generation.sampler import Sampler, sampling_tensors

    model = GPT2LM(GPT2Config(**job.shape()))
    end = job.vocab_size - 1
    functions = compile_model(model, end)
    token_ids = job.batches()[0][: job.batch_size, : job.context_length // 8]
    lengths = np.full(job.batch_size, token_ids.shape[1], "int32")
    settings = (
        sampling_tensors(Sampler(temperature=0.0), np.zeros(job.batch_size, "int32")),
        processor_tensors(job.vocab_size, [end], logit_bias={end: -float("inf")}),
    )

    def generate(steps: int) -> Any:
        count = np.int32(steps)
        state = functions.start(token_ids, lengths, *settings, count, no_prefix(model))
        if steps == 1:
            return np.asarray(state.last_ids)
        ids, _, _ = functions.advance(state, *settings, np.int32(steps - 1))
        if ids.shape[1] != steps - 1:
            raise ValueError(f"{ids.shape[1]} tokens came instead of {steps - 1}.")
        return ids

    return timed(generate, job.steps) | keras_device()


def generate_transformers(job: Job, cache: str | None = None) -> dict[str, Any]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = GPT2Config(
        **job.transformers_shape(),
        bos_token_id=job.vocab_size - 1,
        eos_token_id=job.vocab_size - 1,
    )
    model = GPT2LMHeadModel(config).to(device, torch.bfloat16).eval()
    ids = job.batches()[0][: job.batch_size, : job.context_length // 8]
    prompts = torch.from_numpy(ids).long().to(device)
    options = {"do_sample": False, "pad_token_id": job.vocab_size - 1}
    if cache is not None:
        options["cache_implementation"] = cache  # which transformers compiles on a GPU

    def generate(steps: int) -> Any:
        with torch.no_grad():
            found = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=steps,
                min_new_tokens=steps,
                **options,
            )
        return found.cpu()  # waits for the device

    return timed(generate, job.steps) | torch_device()


GENERATORS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "gpt2_keras_jax": generate_gpt2_keras,
    "transformers": generate_transformers,
    "transformers_static": lambda job: generate_transformers(job, "static"),
}


def main() -> None:
    peer, job = sys.argv[1:]
    print(json.dumps(GENERATORS[peer](Job(**json.loads(job)))))


if __name__ == "__main__":
    main()
