import pytest

from gpt2_keras.evaluation import detokenize

WIKITEXT = [
    ("the dogs ' tails", "the dogs' tails"),
    ("1 @,@ 000 or 0 @.@ 5 , long @-@ lived", "1,000 or 0.5, long-lived"),
    ("One . Two ; three : four ? Yes ! No , ", "One. Two; three: four? Yes! No, "),
    ("size ( 24 in ) [ 3 ] { x }", "size (24 in) [3] {x}"),
    ('he said " so it is " .\n', 'he said "so it is" .\n'),
    ('an odd " one\nand " a pair " here', 'an odd " one\nand "a pair" here'),
    (" = = Life = = \n \n It 's 5 ° C . \n", " == Life ==\n\nIt's 5°C.\n"),
]


@pytest.mark.parametrize(("text", "expected"), WIKITEXT)
def test_wikitext_becomes_ordinary_text(text, expected):
    assert detokenize(text, "wikitext") == expected


def test_without_a_detokenizer_a_text_does_not_change():
    assert detokenize(" a @-@ b ", "none") == " a @-@ b "


def test_an_unknown_name_and_a_wrong_type_are_errors():
    message = (
        r"^detokenizer='penn' is unknown\. Use one of 'none', 'wikitext', .*'hellaswag'\. "
        r"Ordinary text needs 'none'\.$"
    )
    with pytest.raises(ValueError, match=message):
        detokenize("a", "penn")
    with pytest.raises(TypeError, match=r"^detokenizer is None\. Use one of 'none', 'wikitext', "):
        detokenize("a", None)
    with pytest.raises(TypeError, match=r"^text=3 is an int\. Use a str\.$"):
        detokenize(3, "none")
