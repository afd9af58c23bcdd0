"""English stop words, which are no answer to LAMBADA."""

from gpt2_keras.tokenizer import GPT2Tokenizer

# NLTK's English list of 127 words (nltk_data, corpora/stopwords).
_WORDS = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself "
    "she her hers herself it its itself they them their theirs themselves what which who whom this "
    "that these those am is are was were be been being have has had having do does did doing a an "
    "the and but if or because as until while of at by for with about against between into through "
    "during before after above below to from up down in out on off over under again further then "
    "once here there when where why how all any both each few more most other some such no nor not "
    "only own same so than too very s t can will just don should now"
)
STOP_WORDS = frozenset(_WORDS.split(" "))


def stop_word_ids(tokenizer: GPT2Tokenizer) -> list[int]:
    """Returns the ids of the tokens that are a stop word, with or without a space before it.

    Example:
        >>> tokenizer = GPT2Tokenizer.train(["the the the"], vocab_size=260)
        >>> [tokenizer.decode([one]) for one in stop_word_ids(tokenizer)]
        ['A', 'I', 'S', 'T', 'a', 'i', 's', 't', 'he', 'the', ' the']
    """
    ids = range(tokenizer.vocab_size)
    texts = [tokenizer.decode([one]) for one in ids]
    return [one for one, text in zip(ids, texts, strict=True) if _word(text) in STOP_WORDS]


def _word(text: str) -> str:
    return text.removeprefix(" ").lower()
