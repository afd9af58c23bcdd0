"""Long answers delta by delta, from a model that says one byte of a given text for each token."""

import importlib
from pathlib import Path

import pytest

CLIENTS = Path(__file__).resolve().parents[2] / "export" / "tf_serving" / "clients"


@pytest.fixture(scope="module")
def rest():
    """`rest`, imported as from the folder it is copied to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(CLIENTS)
        return importlib.import_module("rest")


@pytest.fixture
def byte_client(rest):
    """Builds a client whose model says one byte of a given text for each token."""

    def build(target, context_length=1000):
        class ByteClient(rest.Client):
            seeds = ()

            def generate(self, texts, *, max_new_tokens, seed):
                (so_far,) = [text.encode() for text in texts]
                assert target.startswith(so_far)
                if len(so_far) + max_new_tokens > context_length:
                    raise rest.RequestRefusedError("texts … do not fit into the context of …")
                self.seeds += (seed,)
                new = target[len(so_far) :][:max_new_tokens]
                reason = "length" if len(new) == max_new_tokens else "end"
                text = so_far + new
                ids = list(new)
                return [rest.Completion(text.decode(errors="replace"), text, ids, reason)]

        return ByteClient()

    return build


@pytest.mark.parametrize("chunk_size", [*range(1, 9), 100])
def test_a_stream_has_whole_characters_whatever_the_pieces(byte_client, chunk_size):
    target = "a é𝄞\ufffd 中文 🙂🙂."
    client = byte_client(target.encode())
    deltas = list(client.stream("a", max_new_tokens=500, chunk_size=chunk_size))
    assert "".join(deltas) == target[1:]
    assert all(deltas)


def test_a_stream_stops_at_the_number_of_tokens(byte_client):
    client = byte_client(b"0123456789" * 9)
    answer = "".join(client.stream("0", max_new_tokens=25, chunk_size=10))
    assert answer == ("0123456789" * 3)[1:26]
    assert client.seeds == (0, 10, 20)


def test_seeds_of_pieces_wrap_around_as_int32(byte_client):
    client = byte_client(b"0123456789" * 9)
    assert list(client.stream("0", max_new_tokens=8, chunk_size=4, seed=2**31 - 2))
    assert client.seeds == (2**31 - 2, -(2**31) + 2)


@pytest.mark.parametrize("chunk_size", [1, 3, 16])
def test_a_stream_fills_the_context_and_ends(byte_client, chunk_size):
    client = byte_client(b"0123456789" * 9, context_length=37)
    text = "0" + "".join(client.stream("0", max_new_tokens=500, chunk_size=chunk_size))
    assert text == ("0123456789" * 4)[:37]


@pytest.mark.parametrize("chunk_size", [1, 3, 16])
def test_a_character_that_no_longer_fits_ends_a_stream(byte_client, chunk_size):
    client = byte_client("ab🙂cd".encode(), context_length=5)
    assert "".join(client.stream("a", max_new_tokens=500, chunk_size=chunk_size)) == "b\ufffd"


def test_a_stream_of_a_text_that_fills_the_context_itself_is_an_error(byte_client, rest):
    with pytest.raises(rest.RequestRefusedError, match="do not fit into the context"):
        list(byte_client(b"0123456789", context_length=5).stream("01234"))
