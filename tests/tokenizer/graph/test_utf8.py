"""The automaton of valid UTF-8."""

import itertools

from gpt2_keras.tokenizer.graph.utf8 import FIRST_CONTINUATION, utf8_automaton
from gpt2_keras.tokenizer.unicode_classes import character_classes


def read_by_automaton(encoded):
    first, following = utf8_automaton()
    state = first[encoded[0]]
    for byte in encoded[1:]:
        column = byte - FIRST_CONTINUATION
        state = following[state, column if 0 <= column < 64 else 64]
    return state


def test_the_automaton_reads_every_character():
    classes = character_classes()
    several = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
    wrong = [c for c in several if read_by_automaton(chr(c).encode()) != 1 + classes[c]]
    assert wrong == []


def test_the_automaton_reads_what_python_decodes_and_nothing_else():
    continuations = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    for first in range(256):
        for rest in itertools.product(continuations, repeat=3):
            encoded = bytes([first, *rest])
            character = encoded.decode("utf-8", "ignore")[:1]
            is_valid = first >= 0x80 and encoded.startswith(character.encode())
            is_valid &= bool(character) and ord(character) >= 0x80
            assert (read_by_automaton(encoded) > 0) == is_valid, encoded
