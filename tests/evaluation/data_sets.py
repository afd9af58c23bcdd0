"""Small files of data sets, in the forms in which those are distributed."""

import json

LAMBADA = ["the cat sat on the mat", "and the dog sat on the log.", "it's 42 o'clock! the dog sat"]
CBT_SENTENCES = [f"the cat sat on the mat , number {i} ." for i in range(1, 21)]
CBT = [("the dog 's log was on the XXXXX , it sat .", "mat", ["cat", "mat", "dog"])]
WIKITEXT = (
    " \n = The cat = \n \n the cat sat on the mat , 1 @,@ 000 . \n = The dog = \n the dog . \n"
)
HELLASWAG = [
    {
        "ind": 1,
        "activity_label": "Cats",
        "ctx_a": "the cat sat.",
        "ctx_b": "it",
        "ctx": "the cat sat. it",
        "endings": ["sat on the mat [title] the", "is a dog", "sat", "o'clock"],
        "label": 2,
    }
]


def lambada_lines():
    return "".join(json.dumps({"text": text}) + "\n" for text in LAMBADA)


def cbt_lines():
    found = []
    for question, answer, choices in CBT:
        lines = [f"{i} {text}" for i, text in enumerate(CBT_SENTENCES, 1)]
        found.append("\n".join([*lines, f"21 {question}\t{answer}\t\t{'|'.join(choices)}"]))
    return "\n\n".join(found) + "\n\n"


def hellaswag_lines():
    return "".join(json.dumps(row) + "\n" for row in HELLASWAG)


FILES = {
    "lambada-openai": ("lambada_test.jsonl", lambada_lines()),
    "lambada-standard": ("lambada_test_plain_text.txt", "\n".join(LAMBADA) + "\n"),
    "cbt-cn": ("cbtest_CN_valid_2000ex.txt", cbt_lines()),
    "cbt-ne": ("cbtest_NE_valid_2000ex.txt", cbt_lines()),
    "wikitext-2": ("wiki.test.tokens", WIKITEXT),
    "wikitext-103": ("wiki.test.tokens", WIKITEXT),
    "ptb": ("ptb.test.txt", " the cat sat on N mats \n the <unk> dog 's log \n"),
    "enwik8": ("enwik8", '<mediawiki xmlns="x">\n  <page> the cat é </page>\n'),
    "text8": ("text8", "the cat sat on the mat " * 60),
    "1bw": ("news.en.heldout-00000-of-00050", "The cat sat .\nIt ' s a dog , he said .\n"),
    "hellaswag": ("hellaswag_val.jsonl", hellaswag_lines()),
}


def write(folder, task):
    name, text = FILES[task]
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
