"""A conversation in a program: `examples/chat.py MODEL`. To talk yourself: `gpt2-keras chat`."""

import sys

from gpt2_keras import GPT2LM
from gpt2_keras.applications import Chat
from gpt2_keras.generation import Sampler

MESSAGES = ["Hello! Who are you?", "What is an exception?", "Thank you."]


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    model = GPT2LM.from_preset(sys.argv[1])
    chat = Chat(model, max_new_tokens=24, sampler=Sampler(temperature=0.8, top_k=40), seed=1)
    for message in MESSAGES:
        print(f"> {message}")
        stream = chat.stream(message)
        for delta in stream:
            print(delta, end="", flush=True)
        print(f"   [{stream.reply.finish_reason}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
