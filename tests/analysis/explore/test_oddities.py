import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runwright.analysis.explore.survey import find_odd

GARBLED = ["cafÃ©", "donâ€™t", "Â£5", "bad \ufffd", "ÐŸÑ€Ð¸Ð²ÐµÑ‚", "ä½\xa0å¥½"]
SOUND = [
    "café",
    "don’t",
    "£5",
    "Ångström",
    "À “la”",
    "你好",
    "Привет",
    "naïve façade",
    "São Paulo",
    "ÂME",
    "Â",
]


def is_garbled(text):
    return "garbled" in find_odd(pa.array([text], pa.large_string()))


@pytest.mark.parametrize("text", GARBLED)
def test_text_in_the_wrong_encoding_is_seen(text):
    assert is_garbled(text)


@pytest.mark.parametrize("text", SOUND)
def test_sound_text_is_not_called_garbled(text):
    assert not is_garbled(text)


@given(text=st.text(st.characters(codec="cp1252", exclude_characters="\ufffd"), min_size=1, max_size=30))
def test_what_was_read_as_latin_1_is_garbled_where_it_is_not_ascii(text):
    wrong = text.encode("utf-8").decode("latin-1")
    if any(0x80 <= ord(char) <= 0xFF or ord(char) > 0x7FF for char in text):
        assert is_garbled(wrong)
    if text.isascii():
        assert not is_garbled(wrong)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", "\u3000 \t"),
        ("markup", "a <b>c</b>"),
        ("markup", "AT&amp;T"),
        ("markup", "&#8217;"),
    ],
)
def test_an_oddity_is_found(name, text):
    assert list(find_odd(pa.array(["sound", text, None], pa.large_string()))[name]) == [1]


def test_plain_texts_of_any_script_are_not_odd():
    texts = [
        "A < B & C > D",
        "see https://a.b",
        "Привет, мир",
        "你好，世界",
        "こんにちは",
        "2 + 2 = 4",
        "α and β",
    ]
    assert find_odd(pa.array(texts, pa.large_string())) == {}
