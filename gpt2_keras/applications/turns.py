"""Turns of a conversation as ids, and which of them are kept when there are too many."""

from collections.abc import Sequence
from fractions import Fraction

from gpt2_keras.data.conversation_text import ROLES, SEPARATOR
from gpt2_keras.tokenizer import GPT2Tokenizer

# When a conversation does not fit, so many of its oldest turns are dropped that the others fill at
# most this fraction of the room: dropping is rare then, and between times the cached prefix stays.
KEPT_FRACTION = Fraction(3, 4)
FORMATS = ("plain", "dialogpt")
Turn = tuple[str, str]  # what the user said, and the answer


class TurnEncoder:
    """The ids of a conversation.

    Args:
        tokenizer: Encodes the texts, of which nothing is a special token.
        format: One of `FORMATS`, see `Chat`.
        system: What stands before the conversation.
    """

    def __init__(self, tokenizer: GPT2Tokenizer, format: str, system: str) -> None:  # noqa: A002
        self.tokenizer = tokenizer.with_special_tokens_policy("none")
        self._is_plain = format == "plain"
        self._system = f"{ROLES['system']}: {system}" if system else ""

    def fit(self, turns: Sequence[Turn], message: str, room: int) -> tuple[int, list[int]]:
        """Returns how many of the oldest turns are dropped, and the ids of the prompt.

        Args:
            turns: What was said before.
            message: What is said now.
            room: Largest number of ids.

        Raises:
            ValueError: If the message alone has more.
        """
        start = self.tokenizer.encode(self._system)
        rest = len(start) + len(self._asked(message, begins=not start))
        if rest > room:
            raise ValueError(
                f"message has {rest} tokens with its template, and there is room for {room}. "
                "Shorten it, or ask for fewer new tokens."
            )
        rest = len(start) + len(self._asked(message, begins=not start and not turns))
        earlier = [self.turn(turn, begins=not start and not i) for i, turn in enumerate(turns)]
        dropped = 0
        if rest + sum(map(len, earlier)) > room:
            most = (room - rest) * KEPT_FRACTION
            left = sum(map(len, earlier))
            while dropped < len(turns) and (not dropped or left > most):
                left -= len(earlier[dropped])
                dropped += 1
            earlier = earlier[dropped:]
            if earlier and not start:
                earlier[0] = self.turn(turns[dropped], begins=True)
        last = self._asked(message, begins=not start and not earlier)
        return dropped, [*start, *(one for ids in earlier for one in ids), *last]

    def turn(self, turn: Turn, *, begins: bool = False) -> list[int]:
        """Returns the ids of a turn; `begins` is whether it stands before all others."""
        asked, answered = turn
        if not self._is_plain:
            return [*self._asked(asked, begins=begins), *self._ended(answered)]
        answer = f" {answered}" if answered else ""
        last = f"{SEPARATOR}{ROLES['assistant']}:{answer}"
        return [*self._user(asked, begins=begins), *self.tokenizer.encode(last)]

    def _asked(self, message: str, *, begins: bool) -> list[int]:
        """Returns the ids of a message up to where its answer begins."""
        if not self._is_plain:
            return self._ended(message)
        role = f"{SEPARATOR}{ROLES['assistant']}:"
        return [*self._user(message, begins=begins), *self.tokenizer.encode(role)]

    def _user(self, message: str, *, begins: bool) -> list[int]:
        separator = "" if begins else SEPARATOR
        return self.tokenizer.encode(f"{separator}{ROLES['user']}: {message}")

    def _ended(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text), self.tokenizer.end_token_id]


def turn_start(tokenizer: GPT2Tokenizer) -> list[int]:
    """Returns the ids that begin a later turn of the user, its separator first."""
    return tokenizer.encode(f"{SEPARATOR}{ROLES['user']}:")


def crop_turns(ids: Sequence[int], start: list[int], room: int) -> int:
    """Returns where the turns of a conversation begin that are kept: the rule of `fit` for ids.

    Args:
        ids: The ids of the conversation, more than there is room for.
        start: Of `turn_start`.
        room: Number of ids that there is room for.

    Returns:
        The index of the separator before the first turn of the user that is kept; the length of
        `ids` if none is.
    """
    most = room * KEPT_FRACTION
    for index in range(1, len(ids) - len(start) + 1):
        if list(ids[index : index + len(start)]) == start and len(ids) - index <= most:
            return index
    return len(ids)
