"""OpenAI's byte alphabet, which spells a token with one printable character per byte."""


def bytes_to_unicode() -> dict[int, str]:
    """Returns the printable character that stands for each byte, in the order of their ids.

    Bytes that are printable in Latin-1 stand for themselves; the other 68 are
    moved to U+0100 and up, so that a space is written `Ġ`.

    Source: `bytes_to_unicode` in openai/gpt-2 `src/encoder.py`.

    Example:
        >>> table = bytes_to_unicode()
        >>> table[ord("A")], table[ord(" ")], list(table)[:2]
        ('A', 'Ġ', [33, 34])
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    moved = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    table.update({byte: chr(256 + rank) for rank, byte in enumerate(moved)})
    return table


BYTE_TO_CHARACTER = bytes_to_unicode()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}


def spell(raw: bytes) -> str:
    """Returns bytes written in the byte alphabet."""
    return raw.decode("latin-1").translate(BYTE_TO_CHARACTER)


def unspell(token: str) -> bytes:
    """Returns the bytes of a token written in the byte alphabet."""
    return bytes(CHARACTER_TO_BYTE[character] for character in token)
