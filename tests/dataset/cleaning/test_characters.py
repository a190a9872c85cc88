from datasets import Dataset

from runwright.dataset.cleaning.texts import ReplacePattern

TEXT = ["text"]


def cleaned(step, *texts):
    return step({"train": Dataset.from_dict({"text": list(texts)})})["train"]["text"][:]


def test_a_pattern_is_replaced_with_its_groups():
    step = ReplacePattern(columns=TEXT, pattern=r"https?://(\S+)", replacement=r"\1")
    assert cleaned(step, "see http://a.b/c now", "nothing") == ["see a.b/c now", "nothing"]
