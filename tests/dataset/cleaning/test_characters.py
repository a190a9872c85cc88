import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from runwright.dataset.cleaning.texts import (
    MapCharacters,
    RemoveStopWords,
    RemoveTags,
    ReplacePattern,
    replacer,
)
from runwright.errors import DataError

TEXT = ["text"]


def cleaned(step, *texts):
    return step({"train": Dataset.from_dict({"text": list(texts)})})["train"]["text"][:]


def test_a_users_map_makes_traditional_characters_simplified(write):
    path = write("map.txt", "漢\t汉\n語\t语\r\n\n臺灣\t台湾\n")
    step = MapCharacters(columns=TEXT, path=path, first_word=False)
    assert cleaned(step, "漢語 in 臺灣", "臺") == ["汉语 in 台湾", "臺"]


def test_of_several_choices_the_first_is_taken_where_asked(write):
    path = write("map.txt", "乾\t干 乾\n")
    assert cleaned(MapCharacters(columns=TEXT, path=path, first_word=True), "乾") == ["干"]
    assert cleaned(MapCharacters(columns=TEXT, path=path, first_word=False), "乾") == ["干 乾"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a b\n", "line 1: expected old<tab>new"),
        ("a\tb\na\tc\n", "line 2: 'a' becomes 'c' here and 'b' before"),
        ("\n", "is empty"),
        (b"\xff\tb\n", "cannot be read"),
    ],
)
def test_a_map_that_cannot_be_used_is_named(write, content, problem):
    with pytest.raises(DataError, match=problem):
        cleaned(MapCharacters(columns=TEXT, path=write("map.txt", content), first_word=False), "x")


@given(
    text=st.text("abc", max_size=30),
    pairs=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.text("xyz", max_size=2)),
)
def test_the_longest_piece_counts_and_nothing_is_replaced_twice(text, pairs):
    expected, place = "", 0
    while place < len(text):  # the plainest way: at each place the longest key that fits
        fits = [key for key in pairs if text.startswith(key, place)]
        key = max(fits, key=len, default=None)
        expected += text[place] if key is None else pairs[key]
        place += 1 if key is None else len(key)
    assert replacer(pairs)(text) == expected


def test_a_pattern_is_replaced_with_its_groups():
    step = ReplacePattern(columns=TEXT, pattern=r"https?://(\S+)", replacement=r"\1")
    assert cleaned(step, "see http://a.b/c now", "nothing") == ["see a.b/c now", "nothing"]


def test_markup_goes_and_signs_stay():
    texts = ["<p>one<br/>two</p>", "1 < 2 and <3", "a<!-- b -->c", "x<script type='a'>y < z</script>w"]
    assert cleaned(RemoveTags(columns=TEXT), *texts) == [" one two ", "1 < 2 and <3", "a c", "x w"]


def test_stop_words_are_removed_where_there_are_no_spaces_between_words(write):
    path = write("stop.txt", "的\n因为\nthe\n")
    step = RemoveStopWords(columns=TEXT, words=[], path=path)
    assert cleaned(step, "我的书，因为 the end", "lathe 目的") == ["我书， end", "lathe 目"]
