"""A published protocol of a task, as data: a figure says little without the rules behind it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TaskProtocol:
    """The rules by which a task is measured.

    Args:
        task: The task.
        name: `"paper"`, `"lm-eval"`, `"llm.c"` or `"megatron"`.
        source: Where the rules are written down.
        target: What is scored: `"text"`, all of it; `"last token"` or `"last word"` of a passage;
            `"choice"`, after its context; `"choice and rest"`, also the rest of its sentence;
            `"passage"`, the whole passage with the choice filled in.
        detokenizer: See `detokenize`.
        start: Whether `<|endoftext|>` stands before the first token: `"always"`; `"if empty"`,
            where there is no context; or `"never"`, so that the first token is not scored.
        together: Whether context and continuation are encoded together; see `encode_pair`.
        document: What is a text of its own, with windows of its own: a `"file"`, a `"page"` of
            WikiText, or a `"line"`.
        stride: Tokens from one window to the next; None for the context length.
        full_last_window: Whether the last window is moved to the left until it is full.
        denominator: The unit of the perplexity: `"token"`; `"word"`, as `str.split` counts them;
            `"split word"`, as `re.split(r"\\s+")` counts them, which adds one for white space at
            an edge; `"space"`, pieces between spaces less one; or the unit of bits:
            `"byte"`, `"character"`.
        normalization: What the log-probability of a choice is divided by, besides 1: `"token"`,
            `"character"` or `"byte"`; empty if nothing else is measured.
        filter: `"stop words"`: of the first token of the answer, stop words are left out.
        unknown: What the source does not say, and what is done here; empty if it says all.
    """

    task: str
    name: str
    source: str
    target: str
    detokenizer: str = "none"
    start: str = "always"
    together: bool = False
    document: str = "file"
    stride: int | None = None
    full_last_window: bool = False
    denominator: str = "token"
    normalization: tuple[str, ...] = ()
    filter: str = ""
    unknown: str = ""

    def to_text(self) -> str:
        """Returns the rules in a few words."""
        rules = [f"scored: {self.target}"]
        if self.target == "text":
            stride = "disjoint windows" if self.stride is None else f"stride {self.stride}"
            last = ", the last one full" if self.full_last_window else ""
            rules += [f"{stride}{last}", f"per {self.document}", f"unit: {self.denominator}"]
        elif self.start:
            rules.append(f"encoded {'together' if self.together else 'apart'}")
        if self.start:
            rules += [f"<|endoftext|> before: {self.start}", f"detokenizer: {self.detokenizer}"]
        if self.normalization:
            rules.append(f"also divided by: {', '.join(self.normalization)}")
        if self.filter:
            rules.append(f"without {self.filter}")
        return "; ".join(rules)
