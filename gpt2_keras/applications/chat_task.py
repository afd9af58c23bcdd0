"""A turn of a conversation as a task, for exports."""

from gpt2_keras.applications.post_processing import strip
from gpt2_keras.applications.text_task import Field, Literal, TextTask, token_limit
from gpt2_keras.data.conversation_text import ROLES, SEPARATOR
from gpt2_keras.generation import Sampler
from gpt2_keras.generation.defaults import default_sampler
from gpt2_keras.model import GPT2Model
from gpt2_keras.validation import check_text

MAX_NEW_TOKENS = 64
# Where the model begins to speak for another, also after a single line end.
STOP = tuple(f"\n{name}:" for name in ROLES.values())


def chat_task(
    model: GPT2Model,
    *,
    system: str = "",
    max_new_tokens: int | None = None,
    sampler: Sampler | None = None,
) -> TextTask:
    """Returns a turn of a conversation as a task for `export`; its fields: history, text.

    The history is what was said, in the format `"plain"`; it loses its oldest turns as in `Chat`.
    """
    said = strip(check_text("system", system))
    parts = [Literal(f"{ROLES['system']}: {said}")] if said else []
    return TextTask(
        "chat",
        (
            *parts,
            Field("history", before=SEPARATOR if said else "", crop="turns", required=False),
            Literal(f"{ROLES['user']}:", separator=SEPARATOR),
            Field("text", before=" "),
            Literal(f"{SEPARATOR}{ROLES['assistant']}:"),
        ),
        default_sampler(model) if sampler is None else sampler,
        token_limit(model, max_new_tokens, MAX_NEW_TOKENS),
        stop=STOP,
    )
