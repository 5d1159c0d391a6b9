import hashlib
import subprocess
import sys
import unicodedata
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_classifiers.text import (
    clean_comment,
    clean_comments,
    english_stop_words,
    porter_stemmer,
)


def keep(word):
    return word


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("what?! a—save", "what save"),  # punctuation separates; "a" is a stop word
        ("don't save", "save"),  # stop words go while the apostrophe still stands
        ("(don't) save, don't!", "save"),  # whatever stands around them
        ("don’t save", "save"),  # the typographic apostrophe is one too
        ("'the' save", "save"),  # quotation marks are no part of a word
        ("pc/console", "pc console"),
        ("goalie's", "goalie s"),
        ("The save, the!", "save"),
        ("\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}save…。save¿", "save save"),
        ("snake_case", "snake case"),  # category Pc
        ("c++ $5 \N{SOCCER BALL}", "c++ $5 \N{SOCCER BALL}"),  # symbols are no punctuation
        ("ÉTÉ\u00a0\u3000été\n", "été été"),
        ("?!", ""),
        ("a the", ""),
        (" ", ""),
        ("", ""),
    ],
)
def test_clean_comment_keeps_only_lower_case_words(comment, expected):
    assert clean_comment(comment, {"the", "a", "don't"}, keep) == expected


def test_a_stop_word_that_only_shows_without_punctuation_goes_too():
    assert clean_comment("The goalie SAVED it!", {"the", "it"}, str.title) == "Goalie Saved"
    assert clean_comment("The goalie's save", {"the", "s"}, str.title) == "Goalie Save"


def test_every_word_is_stemmed_not_only_the_last():
    # The notebook hands the comment to the stemmer as one word: "cats dogs running quickli"
    assert clean_comments(["cats dogs running quickly"]) == ["cat dog run quickli"]


def test_stop_words_go_before_they_are_stemmed():
    # "very" becomes "veri" and "because" "becaus", which are on no list
    assert clean_comments(["Very good because saved"]) == ["good save"]


def test_contractions_go_and_words_stay_apart():
    # The notebook leaves "dont" and "pcconsole"
    assert clean_comments(["I don't play pc/console games"]) == ["play pc consol game"]


def test_comments_keep_their_order_and_number():
    assert clean_comments(["Goals", "", "the", "Games"]) == ["goal", "", "", "game"]


@pytest.mark.parametrize("missing", [None, float("nan"), 3, b"text"])
def test_a_comment_that_is_no_string_is_refused_by_name(missing):
    with pytest.raises(TypeError, match=f"expected a comment as str, got {type(missing).__name__}"):
        clean_comment(missing, set(), keep)


def test_the_stop_words_are_the_list_whose_provenance_is_recorded():
    listed = files("neural_classifiers").joinpath("stop_words_english.txt").read_bytes()
    digest = hashlib.sha256(listed).hexdigest()
    provenance = files("neural_classifiers").joinpath("stop_words_english.README.md").read_text()

    assert digest == "f6d005956f407dbc6ea32e5ff0c7e8e6f71488d3239b9023efdc7fc139d6375b"
    assert digest in provenance
    assert len(english_stop_words()) == 198
    assert {"don't", "the", "you've"} <= english_stop_words()


def test_the_remembering_stemmer_gives_the_stems_of_the_plain_one():
    from nltk.stem import PorterStemmer

    words = ["flies", "dying", "relational", "sky", "news", "oed", "été", "1990s", "c++"]
    stem = porter_stemmer()

    assert [stem(word) for word in words * 2] == [PorterStemmer().stem(word) for word in words * 2]


def test_importing_the_module_does_not_import_nltk():
    code = "import sys, neural_classifiers.text; sys.exit('nltk' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(deadline=None)  # other work on the machine is no failure
@given(st.text())
def test_any_text_becomes_words_without_punctuation_or_stop_words(comment):
    words = clean_comment(comment, english_stop_words(), keep).split(" ")

    assert words == [""] or all(words)
    assert not english_stop_words() & set(words)
    assert not any(unicodedata.category(c).startswith("P") for word in words for c in word)


@settings(deadline=None)
@given(st.text())
def test_any_text_has_stems(comment):
    words = clean_comment(comment, english_stop_words(), keep).split()

    assert len(clean_comments([comment])[0].split()) == len(words)
