from datasets import Dataset

from runwright.dataset.cleaning.texts import RemoveStopWords, ReplacePattern

TEXT = ["text"]


def cleaned(step, *texts):
    return step({"train": Dataset.from_dict({"text": list(texts)})})["train"]["text"][:]


def test_a_pattern_is_replaced_with_its_groups():
    step = ReplacePattern(columns=TEXT, pattern=r"https?://(\S+)", replacement=r"\1")
    assert cleaned(step, "see http://a.b/c now", "nothing") == ["see a.b/c now", "nothing"]


def test_stop_words_are_removed_where_there_are_no_spaces_between_words(write):
    path = write("stop.txt", "的\n因\n因为\nthe\n")
    step = RemoveStopWords(columns=TEXT, words=[], path=path)
    assert cleaned(step, "我的书，因为 the end", "lathe 目的") == ["我书， end", "lathe 目"]
