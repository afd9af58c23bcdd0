"""Asks a model behind TF Serving's REST API. One file, the standard library alone.

    python rest.py --url http://localhost:8501 --model gpt2 "Once upon a time"
    python rest.py --task stream --max-new-tokens 500 "Once upon a time"
    python rest.py --task score "Once upon a time"

A request to a server that is busy or starting is repeated, with growing pauses; one
that it refuses is not. Exit status: 0 done, 1 failed, 2 wrong usage.
"""

import argparse
import base64
import codecs
import contextlib
import http.client
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

BUSY = {429, 503}  # too many requests, and unavailable: what passes
LONGEST_PAUSE = 10.0  # seconds
LARGEST_REPLY = 2**26  # bytes; a token takes less than 100 of them in any signature
LONGEST_MESSAGE = 1000  # characters of what a server says of an error
CONTEXT_RULE = "do not fit into the context"  # in the error of texts that are too long


class ServingError(Exception):
    """The server gave no answer, or one that is an error of its own."""


class RequestRefusedError(ServingError):
    """The request breaks a rule; the message says which. Asking again is no use."""


class BusyError(ServingError):
    """No answer now, but perhaps a moment later."""


class Completion(NamedTuple):
    """A prompt and its new text: in valid UTF-8, and as the raw bytes."""

    text: str
    text_bytes: bytes
    token_ids: list[int]
    finish_reason: str  # "length", "end", or "context"


class Score(NamedTuple):
    """The tokens of a text, and the log-probability of each in nats."""

    token_ids: list[int]
    log_probs: list[float]


class Candidate(NamedTuple):
    """A token that may come next."""

    text: str
    token_bytes: bytes
    token_id: int
    probability: float


class Client:
    """Asks one model of one server.

    Redirections are not followed: what is asked stays with the server that was named.

    Args:
        url: Of the server, such as `http://localhost:8501`.
        model: The name that the server knows it by.
        timeout: Seconds that one request may take.
        retries: How often a request is sent again if the server is busy or away.
        pause: Seconds before it is sent again; doubled each time, up to 10.

    Every method may raise `RequestRefusedError`, and `ServingError` for the rest.
    """

    def __init__(
        self,
        url: str = "http://localhost:8501",
        model: str = "gpt2",
        *,
        timeout: float = 60.0,
        retries: int = 5,
        pause: float = 0.25,
    ) -> None:
        self.url, self.model = url.rstrip("/"), model
        self.timeout, self.retries, self.pause = timeout, retries, pause

    def generate(
        self,
        texts: Sequence[str],
        *,
        max_new_tokens: int | Sequence[int] = 64,
        temperature: float | Sequence[float] = 0.0,
        top_k: int | Sequence[int] = 0,
        top_p: float | Sequence[float] = 1.0,
        repetition_penalty: float | Sequence[float] = 1.0,
        seed: int | Sequence[int] = 0,
    ) -> list[Completion]:
        """Continues texts. A parameter is one number for all texts, or one for each."""
        parameters = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
        }
        # One value per row: the server merges rows of several requests into one batch.
        columns = {
            name: list(value) if isinstance(value, Sequence) else [value] * len(texts)
            for name, value in parameters.items()
        }
        names = ("text", "text_bytes", "token_ids", "num_tokens", "finish_reason")
        with self._rows("generate", {"text": list(texts)} | columns, names) as rows:
            return [Completion(text, raw, ids[:count], why) for text, raw, ids, count, why in rows]

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Returns the log-probability of every token of each text."""
        names = ("token_ids", "log_probs", "num_tokens")
        with self._rows("score", {"text": list(texts)}, names) as rows:
            return [Score(ids[:count], log_probs[:count]) for ids, log_probs, count in rows]

    def next_token(self, texts: Sequence[str]) -> list[list[Candidate]]:
        """Returns the ten most likely next tokens of each text, the most likely first."""
        names = ("tokens", "token_bytes", "ids", "probs")
        with self._rows("next_token", {"text": list(texts)}, names) as rows:
            return [[Candidate(*fields) for fields in zip(*row, strict=True)] for row in rows]

    @contextlib.contextmanager
    def _rows(
        self, signature: str, inputs: dict[str, list[Any]], names: Sequence[str]
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Gives the outputs of these names for each text; they are read inside the context."""
        answer = self.predict(signature, inputs)
        try:
            rows = list(zip(*(answer[name] for name in names), strict=True))
            if len(rows) != len(inputs["text"]):
                raise ValueError(f"{len(rows)} rows for {len(inputs['text'])} texts")
            yield rows
        except (LookupError, TypeError, ValueError) as error:
            raise ServingError(
                f"The answer of {self.url} is not that of the signature {signature} "
                f"({type(error).__name__}: {error!s:.200}). Is it a model of gpt2_keras?"
            ) from error

    def stream(
        self,
        text: str,
        *,
        max_new_tokens: int = 256,
        chunk_size: int = 16,
        seed: int = 0,
        **parameters: Any,
    ) -> Iterator[str]:
        """Yields a long answer in deltas, by requests of `chunk_size` tokens.

        Each request begins with the text so far, as far as its characters are
        complete: what a text ends with in the middle of a character is asked for
        again, and bytes that are no character become U+FFFD, here as there. It ends
        at `max_new_tokens`, the end token, or a full context.

        The text so far is encoded again for each request, so the answer may differ from
        that of one long request where a token would cross the boundary of two.
        """
        so_far, generated, asked, too_few, pending = text, 0, chunk_size, 0, ""
        while generated < max_new_tokens:
            count = min(asked, max_new_tokens - generated)
            try:
                own_seed = _int32(seed + generated)  # or each request would use the same numbers
                (answer,) = self.generate(
                    [so_far], max_new_tokens=count, seed=own_seed, **parameters
                )
            except RequestRefusedError as refusal:
                if CONTEXT_RULE not in str(refusal) or (count == 1 and not generated):
                    raise
                if count // 2 <= too_few:
                    break  # the context is full
                asked = count // 2
                continue
            last = answer.finish_reason != "length" or generated + count >= max_new_tokens
            longer = codecs.getincrementaldecoder("utf-8")("replace").decode(
                answer.text_bytes, final=last
            )
            pending = answer.text_bytes.decode("utf-8", "replace")[len(longer) :]
            if len(longer) > len(so_far):
                yield longer[len(so_far) :]
                so_far, too_few = longer, 0
                generated += len(answer.token_ids)
            else:
                asked, too_few = count * 2, count  # not even one character
            if last:
                return
        if pending:
            yield pending

    def predict(self, signature: str, inputs: dict[str, list[Any]]) -> dict[str, Any]:
        """Returns the outputs of a signature by name; those in `_bytes` as bytes."""
        for attempt in range(self.retries + 1):
            try:
                return self.send(signature, inputs)
            except BusyError as error:
                if attempt == self.retries:
                    tries = f"Asked {attempt + 1} times." if attempt else "Asked once."
                    raise ServingError(f"{error} {tries}") from error
            pause = min(self.pause * 2**attempt, LONGEST_PAUSE)
            # So that clients that were turned away together do not come back together.
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 -- no secret
        raise ValueError(f"`retries` must be at least 0. Received: retries={self.retries}.")

    def send(self, signature: str, inputs: dict[str, list[Any]]) -> dict[str, Any]:
        """Sends one request, once.

        Source: the column format of https://www.tensorflow.org/tfx/serving/api_rest
        """
        if not self.url.startswith(("http://", "https://")):
            raise ServingError(f"url={self.url!r} is no address of http:// or https://.")
        request = urllib.request.Request(  # noqa: S310 -- checked above
            f"{self.url}/v1/models/{urllib.parse.quote(self.model, safe='')}:predict",
            data=json.dumps({"signature_name": signature, "inputs": inputs}).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + self.timeout
        try:
            with _OPENER.open(request, timeout=self.timeout) as reply:
                body = _read(reply, deadline)
        except urllib.error.HTTPError as error:
            body = b""
            with error, contextlib.suppress(OSError, http.client.HTTPException):
                body = _read(error, deadline)
            raise _error_of_reply(error.code, body) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise ServingError(
                    f"No answer from {self.url} within {self.timeout} seconds. "
                    "Ask for fewer tokens at a time, or allow more time."
                ) from error
            raise BusyError(f"No answer from {self.url}: {reason}.") from error
        try:
            outputs = json.loads(body)["outputs"]
            return {
                name: _decoded(value) if name.endswith("_bytes") else value
                for name, value in outputs.items()
            }
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ServingError(
                f"{self.url} answered {_shortened(body)!r}, which is no answer of TF Serving. "
                "Is it the port of its REST API?"
            ) from error


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Makes a redirection the error that its status is."""

    def redirect_request(self, *_: Any) -> None:
        """Follows none."""


_OPENER = urllib.request.build_opener(_NoRedirection)


def _read(reply: Any, deadline: float) -> bytes:
    """Reads a reply to its end, a limited number of bytes in a limited time."""
    parts, size = [], 0
    while part := reply.read1(2**16):
        parts.append(part)
        size += len(part)
        if size > LARGEST_REPLY:
            raise ServingError(
                f"The answer has more than {LARGEST_REPLY} bytes. Send fewer texts at a time."
            )
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _shortened(body: bytes) -> str:
    """Returns the beginning of a reply as text."""
    text = body[: 4 * LONGEST_MESSAGE].decode("utf-8", "replace")
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]} …"


def _error_of_reply(status: int, body: bytes) -> ServingError:
    """Returns the exception for a reply that is no answer."""
    try:
        message = str(json.loads(body)["error"])[:LONGEST_MESSAGE]
    except (ValueError, LookupError, TypeError, RecursionError):
        message = _shortened(body) or "no message"
    if status in BUSY:
        return BusyError(f"The server is busy ({status}): {message}.")
    if status == 400:
        return RequestRefusedError(sentence(message))
    return ServingError(f"The server answered {status}: {message}")


def sentence(message: str) -> str:
    """Returns what a refusal says to people, without the graph's own words.

    >>> sentence("assertion failed: [text is empty in rows [0]. Send …]\\n\\t [[{{node x}}]]")
    'text is empty in rows [0]. Send …'
    """
    found = re.search(r"assertion failed: \[(.+)\]$", message, re.MULTILINE)
    return found[1] if found else message


def _int32(number: int) -> int:
    """Wraps a number around into the range of an int32."""
    return (number + 2**31) % 2**32 - 2**31


def _decoded(value: Any) -> Any:
    """Returns nested lists with every `{"b64": …}` as bytes."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return base64.b64decode(value["b64"], validate=True)


def run(arguments: argparse.Namespace, client: Client) -> None:
    """Does the task and prints the answer."""
    if arguments.task == "score":
        for score in client.score(arguments.texts):
            print(json.dumps(score._asdict()))
    elif arguments.task == "next_token":
        for candidates in client.next_token(arguments.texts):
            print(json.dumps({c.text: c.probability for c in candidates}, ensure_ascii=False))
    else:
        names = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "seed")
        parameters = {name: getattr(arguments, name) for name in names}
        if arguments.task == "generate":
            for completion in client.generate(arguments.texts, **parameters):
                print(completion.text)
            return
        for text in arguments.texts:
            print(text, end="", flush=True)
            for delta in client.stream(text, **parameters):
                print(delta, end="", flush=True)
            print()


def main(client_class: type[Client] = Client, default_url: str = "http://localhost:8501") -> int:
    """Reads the command line, asks the server, and returns the exit status."""
    parser = argparse.ArgumentParser(description="Ask a model that TF Serving serves.")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    parser.add_argument("--url", default=default_url, help="default: %(default)s")
    parser.add_argument("--model", default="gpt2", help="its name; default: %(default)s")
    tasks = ("generate", "stream", "score", "next_token")
    parser.add_argument("--task", choices=tasks, default="generate")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the most likely token")
    parser.add_argument("--top-k", type=int, default=0, help="0: all tokens")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--repetition-penalty", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds a request")
    arguments = parser.parse_args()
    try:
        run(arguments, client_class(arguments.url, arguments.model, timeout=arguments.timeout))
        sys.stdout.flush()
    except ServingError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads the answers has enough, such as `head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
