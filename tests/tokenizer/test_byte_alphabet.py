"""The alphabet that spells bytes as printable characters."""

import json

from gpt2_keras.tokenizer.byte_alphabet import bytes_to_unicode, spell, unspell


def test_the_byte_alphabet_is_that_of_the_published_vocabulary(gpt2_files):
    published = json.loads((gpt2_files / "encoder.json").read_text(encoding="utf-8"))
    by_id = sorted(published, key=published.__getitem__)
    assert by_id[:256] == list(bytes_to_unicode().values())
    assert sorted(bytes_to_unicode()) == list(range(256))


def test_unspelling_inverts_spelling():
    raw = bytes(range(256))
    assert unspell(spell(raw)) == raw
    assert spell(b" a\n") == "ĠaĊ"
