"""What is done with a generated text; `export/task_graph.py` does the same in a graph.

All rules are of ASCII alone, so that they mean the same for characters and for bytes.
"""

import re

# C's isspace, which `tf.strings.strip` uses.
WHITE_SPACE = " \t\n\v\f\r"
SENTENCE_ENDS, CLOSERS = ".!?", "\"')]"
_SPACE = f"[{re.escape(WHITE_SPACE)}]"
# A sign that ends a sentence, or a quote or bracket closed after one, before white space.
_SENTENCE_END = re.compile(
    rf"(?:[{re.escape(SENTENCE_ENDS)}]|(?<=[{re.escape(SENTENCE_ENDS)}])[{re.escape(CLOSERS)}])"
    rf"(?={_SPACE}|\Z)"
)


def strip(text: str) -> str:
    """Returns a text without white space at its edges."""
    return text.strip(WHITE_SPACE)


def first_sentences(text: str, count: int) -> str:
    """Returns the first sentences of a text; all of it if `count` is 0, or it has fewer.

    Example:
        >>> first_sentences('One. "Two!" Three, 3.5. Four', 3)
        'One. "Two!" Three, 3.5.'
    """
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[count - 1]] if 0 < count <= len(ends) else text


def sentences(text: str) -> list[str]:
    """Returns the sentences of a text; a line end ends one, too.

    Example:
        >>> sentences('One. "Two!" Three\\nFour')
        ['One.', '"Two!"', 'Three', 'Four']
    """
    found = []
    for line in text.split("\n"):
        start = 0
        for match in _SENTENCE_END.finditer(line):
            found.append(line[start : match.end()])
            start = match.end()
        found.append(line[start:])
    return [stripped for each in found if (stripped := strip(each))]
