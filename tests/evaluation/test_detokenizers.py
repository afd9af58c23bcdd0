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
def test_wikitext_is_read_as_it_was_written(text, expected):
    assert detokenize(text, "wikitext") == expected


def test_without_a_detokenizer_a_text_stays_as_it_is():
    assert detokenize(" a @-@ b ", "none") == " a @-@ b "


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match=r"one of none, wikitext\. Received: detokenizer='ptb'"):
        detokenize("a", "ptb")
