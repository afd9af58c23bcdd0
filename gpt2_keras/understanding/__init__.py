"""Looking inside a model: what it expects, where it looks, which parts decide.

explore          everything about a text: candidates, ranks, attention, the logit lens
attribute        which tokens a prediction comes from
contributions    what each part of the model adds to a logit
ablate           a text without some attention heads; `head_importance`: all of them in turn
patch            where the difference between two texts is decided
find_heads       previous-token, duplicate-token and induction heads
words            the surprisal of words
record, edit     activations of the forward pass, read and changed by TransformerLens' names
"""

from gpt2_keras.understanding.ablation import ablate, head_importance
from gpt2_keras.understanding.attribution import Attribution, attribute
from gpt2_keras.understanding.contributions import Contributions, contributions
from gpt2_keras.understanding.exploration import Exploration
from gpt2_keras.understanding.explore import explore
from gpt2_keras.understanding.heads import HeadScores, find_heads
from gpt2_keras.understanding.lens import Lens
from gpt2_keras.understanding.names import activation_names
from gpt2_keras.understanding.patching import Patching, patch
from gpt2_keras.understanding.recording import edit, record
from gpt2_keras.understanding.words import Word, words

__all__ = [
    "Attribution",
    "Contributions",
    "Exploration",
    "HeadScores",
    "Lens",
    "Patching",
    "Word",
    "ablate",
    "activation_names",
    "attribute",
    "contributions",
    "edit",
    "explore",
    "find_heads",
    "head_importance",
    "patch",
    "record",
    "words",
]
