import hashlib
import json
import re
import sys
import time
import unicodedata
from importlib.resources import files

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dirty import dirty_lines
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem import PorterStemmer
from Stemmer import Stemmer

from neural_classifiers.comments.models.pipelines import scikit_pipeline
from neural_classifiers.comments.text import (
    _PORTERS_ENDINGS,
    CLEANINGS,
    TOKENS,
    Cleaning,
    clean_column,
    clean_comment,
    cleaning_of,
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
    assert clean_comment("The goalie's save", {"the", "s"}, str.title) == "Goalie Save"


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        # The notebook stems a comment as one word: "cats dogs running quickli"
        ("cats dogs running quickly", "cat dog run quickli"),
        # Stop words go first: "very" becomes "veri" and "because" "becaus", which are on no list
        ("Very good because saved", "good save"),
        # The notebook leaves "dont" and "pcconsole"
        ("I don't play pc/console games", "play pc consol game"),
    ],
)
def test_by_default_every_word_that_is_no_stop_word_is_stemmed(comment, expected):
    assert clean_comment(comment) == expected


@pytest.mark.parametrize("missing", [None, float("nan"), 3, b"text"])
def test_a_comment_that_is_no_string_is_refused_by_name(missing):
    with pytest.raises(TypeError, match=f"expected a comment as str, got {type(missing).__name__}"):
        clean_comment(missing, set(), keep)


def test_the_stop_words_are_the_list_whose_provenance_is_recorded():
    listed = files("neural_classifiers.comments").joinpath("stop_words_english.txt").read_bytes()
    digest = hashlib.sha256(listed).hexdigest()
    provenance = (
        files("neural_classifiers.comments").joinpath("stop_words_english.README.md").read_text()
    )

    assert digest == "f6d005956f407dbc6ea32e5ff0c7e8e6f71488d3239b9023efdc7fc139d6375b"
    assert digest in provenance
    assert len(english_stop_words()) == 198
    assert {"don't", "the", "you've"} <= english_stop_words()


DIFFERENT = (
    "as skies dying news innings canning howe proceed dies died used aping iced trying fly enjoy "
    "days employing trekking possibly incredibly geology apologies joyfully sensationally"
).split()


def test_the_words_that_nltk_stems_in_its_own_way_are_left_to_it():
    for word in DIFFERENT:
        theirs = PorterStemmer().stem(word)
        assert porter_stemmer()(word) == theirs != Stemmer("porter").stemWord(word)


endings = [*_PORTERS_ENDINGS, *"ied eed at bl iz alli fulli ally fully bly logy ness ional".split()]
endings += ["", "fulness", "ational", "ization", "iveness", "ck", "x", "0s", "ß", "é", "’s", " "]
words = st.lists(st.sampled_from([*"abeiouylst", "tion", "al", "ic", *endings]), max_size=6)


@settings(max_examples=1000)
@given(words, st.sampled_from(endings), st.booleans())
def test_any_word_has_nltks_stem(word, ending, is_upper):
    made = "".join(word) + ending
    made = made.upper() if is_upper else made
    assert porter_stemmer()(made) == PorterStemmer().stem(made)


@given(st.text())
def test_any_text_has_nltks_stem(text):
    assert porter_stemmer()(text) == PorterStemmer().stem(text)


@given(st.text())
def test_any_text_becomes_words_without_punctuation_or_stop_words(comment):
    words = clean_comment(comment, english_stop_words(), keep).split(" ")

    assert words == [""] or all(words)
    assert not english_stop_words() & set(words)
    assert not any(unicodedata.category(c).startswith("P") for word in words for c in word)
    assert len(clean_comment(comment).split()) == len([word for word in words if word])


def clean(comment, **options):
    return clean_comment(comment, english_stop_words(), keep, Cleaning(**options))


@pytest.mark.parametrize(
    ("comment", "options", "expected"),
    [
        ("schÃ¶n play", {"mojibake": True}, "schön play"),
        ("schÃ¶n play", {}, "schã n play"),
        ("tom &amp; jerry &lt;3", {"html_entities": True}, "tom jerry <3"),
        ("tom &amp; jerry", {}, "tom amp jerry"),
        ("ﬁnal e\u0301te", {"unicode": "NFKC"}, "final éte"),
        ("ﬁnal e\u0301te", {"unicode": "NFC"}, "ﬁnal éte"),
        ("> they said\nsave\n  >more", {"quoted_lines": "drop"}, "save"),
        ("&gt; they said\nsave > goal", {"quoted_lines": "drop"}, "save > goal"),
        ("see [the goalie](http://x.org/a_(b) \"t\") save", {"markdown": True}, "see goalie save"),
        ("array[0](x) [not a link] (x)", {"markdown": True}, "array 0 link x"),
        ("look http://x.org/a?b=c, www.y.org save", {"urls": "drop"}, "look save"),
        ("http://x.org", {}, "http x org"),
        ("goal \N{SOCCER BALL}\ufe0f!", {"emoji": "drop"}, "goal"),
        ("goal\N{SOCCER BALL}\ufe0f", {"emoji": "name"}, "goal soccer ball"),
        ("goal \N{SOCCER BALL}", {}, "goal \N{SOCCER BALL}"),
        ("he can't score", {"contractions": True, "stop_words": "keep"}, "he can not score"),
        ("they’re winners", {"contractions": True, "stop_words": "keep"}, "they are winners"),
        ("don't", {"stop_words": "drop after punctuation", "punctuation": "delete"}, "dont"),
        ("(don't) save", {"punctuation": "delete"}, "save"),
        ("pc/console", {"punctuation": "delete"}, "pcconsole"),
        ("The goal, at last!", {"punctuation": "keep"}, "goal, last!"),
        ("the save", {"stop_words": "keep"}, "the save"),
    ],
)  # fmt: skip
def test_each_option_does_what_its_name_says_and_nothing_by_default(comment, options, expected):
    assert clean(comment, **options) == expected


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("goalie_1 saved a c++ 5 été", ["goalie", "saved", "été"]),  # as by scikit-learn
        ("टीम मैदान खिलाड़ी।", ["टीम", "मैदान", "खिलाड़ी"]),
        ("cafe\u0301 می\u200cخواهم", ["cafe\u0301", "می\u200cخواهم"]),
        ("我喜欢 iphone手机", ["我", "喜", "欢", "iphone", "手", "机"]),
        ("ฉันรัก", ["ฉั", "น", "รั", "ก"]),
        ("テスト", ["テ", "ス", "ト"]),
        ("⚽⚽a👨\u200d👩👍🏽🇩🇪☀\ufe0f", ["⚽", "⚽", "👨\u200d👩", "👍🏽", "🇩🇪", "☀\ufe0f"]),
    ],
)  # fmt: skip
def test_a_model_sees_words_of_every_script_whole(comment, expected):
    assert re.findall(TOKENS, clean(comment)) == expected
    assert scikit_pipeline(0)["tfidf"].build_tokenizer()(clean(comment)) == expected


@given(st.text(st.characters(max_codepoint=0x2AF)))
def test_words_of_letters_without_marks_are_those_of_scikit_learn(text):
    assert re.findall(TOKENS, text) == re.findall(r"\b\w\w+\b", text)


def test_every_combining_mark_belongs_to_the_word_before_it():
    marks = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n))[0] == "M"]
    assert len(marks) > 2000
    assert [m for m in marks if re.findall(TOKENS, f"é{m}é") != [f"é{m}é"]] == []


def test_hostile_text_is_cleaned_in_time_that_grows_with_its_length():
    began = time.process_time()
    number = "&#" + "9" * 5000 + ";"
    assert clean(number, html_entities=True) == "9" * 5000
    assert clean(f"&#x{'f' * 5000} &lt;3", html_entities=True) == f"x{'f' * 5000} <3"
    marks = "a" + "\u0301\u0323" * 100_000  # two minutes where the square of their number counts
    assert len(clean(marks, unicode="NFC")) > 200_000
    assert clean("e\u0301 " * 40, unicode="NFC") == " ".join(["é"] * 40)
    assert time.process_time() - began < 20


def test_the_preset_notebook_cleans_as_the_notebook_does_mistakes_included():
    def notebook(comment):
        """The notebook's class TextNormalizer, told in other words."""
        marks = (c for c in comment.lower() if not unicodedata.category(c).startswith("P"))
        words = [word for word in "".join(marks).split() if word not in english_stop_words()]
        return PorterStemmer().stem(" ".join(words))

    for comment in (
        "Cats, dogs: running quickly!",
        "I don't play on pc/console; it's dying",
        "The goalies’ saves — all of them — were flying",
        "c++ $5 agreed",
        "",
        "?!",
        "sky",
    ):
        ours = clean_comment(comment, cleaning=CLEANINGS["notebook"])
        assert ours == notebook(comment), comment


def test_cleanings_are_told_by_name_or_by_what_differs():
    assert cleaning_of("default") == cleaning_of({}) == Cleaning()
    assert cleaning_of({"urls": "drop"}) == Cleaning(urls="drop")
    mixed = cleaning_of({"preset": "notebook", "stem": "words"})
    assert (mixed.stem, mixed.punctuation) == ("words", "delete")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("notebok", r"expected one of \['default', 'notebook'\], got 'notebok'"),
        ({"stemm": "words"}, r"options among .*, got \['stemm'\]"),
        ({"stem": "all"}, "stem: expected one of .*, got 'all'"),
        ({"markdown": "yes"}, r"markdown: expected one of \[False, True\], got 'yes'"),
        ({"markdown": 1}, r"markdown: expected one of \[False, True\], got 1"),
        ({"stem": True}, "stem: expected one of .*, got True"),
    ],
)
def test_a_cleaning_that_is_none_is_refused(told, message):
    with pytest.raises(ValueError, match=message):
        cleaning_of(told)


choices = {name: st.sampled_from(values) for name, values in Cleaning.choices().items()}
options = st.fixed_dictionaries({}, optional=choices)


@given(st.text(max_size=60), options)
def test_whatever_the_text_and_options_it_is_cleaned(comment, chosen):
    cleaned = clean(comment, **chosen)

    assert cleaned == " ".join(cleaned.split())
    cleaned.encode("utf-8", "surrogatepass")


@given(st.lists(st.text(max_size=60), max_size=5), options)
def test_a_column_is_cleaned_as_each_of_its_comments(comments, chosen):
    cleaning = Cleaning(**chosen)

    column = clean_column(pa.array(comments, pa.string()), cleaning)
    assert column.to_pylist() == [clean_comment(c, cleaning=cleaning) for c in comments]


@pytest.mark.parametrize("cleaning", [*CLEANINGS, {"markdown": True, "contractions": True}])
def test_a_column_of_dirty_comments_is_cleaned_as_each_of_them(cleaning):
    sound = dirty_lines(400, faults={"removed": 0.01, "duplicate": 0.05})
    comments = [json.loads(line)["txt"] for line in sound]
    cleaning = cleaning_of(cleaning)
    expected = [clean_comment(c, cleaning=cleaning) for c in comments]

    assert len(comments) > 300
    for rows in (pa.array(comments), pa.array(["x", *comments]).slice(1)):  # a slice has an offset
        assert clean_column(rows, cleaning).to_pylist() == expected


def test_white_space_is_the_same_to_arrow_and_to_python():
    characters = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
    pieces = pc.utf8_split_whitespace(pa.array([f"a{c}b" for c in characters])).to_pylist()

    assert [len(p) for p in pieces] == [len(f"a{c}b".split()) for c in characters]
