"""Models by name, which are no runs: their answers are those of their own forward pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants
from transformers import AutoTokenizer

import runwright
from runwright.cli.main import main
from runwright.errors import ConfigError, DataError
from runwright.inference.named import Named, find_model
from runwright.model.pretrained import open_model
from runwright.runs.folder import create
from runwright.tokenizer.pretrained import in_safetensors

TEXTS = ["the film was good", "a long letter about the old museum", "bad"]
Folders = Callable[[str], Path]


def forward(folder: Path, *texts: str, kind: str | None = None, **more: Any) -> Any:
    """Outputs of the model as its class makes them, for one text or pair without padding."""
    config: Any = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, kind or config.architectures[0]).from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**AutoTokenizer.from_pretrained(folder)(*texts, return_tensors="pt"), **more)


def line_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]  # bars of progress come before it


# --- answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("sentiment", lambda logits: logits.softmax(-1)),
        ("multi_label", lambda logits: logits.sigmoid()),
        ("regression", lambda logits: logits),
    ],
)
def test_classes_and_numbers_are_those_of_the_model(
    name: str, shares: Callable[[Any], Any], model_folder: Folders
) -> None:
    answer = runwright.pipeline(model_folder(name))
    together = answer(TEXTS, top_k=None)
    for text, found in zip(TEXTS, together, strict=True):
        expected = shares(forward(model_folder(name), text).logits)[0]
        best, *others = found if isinstance(found, list) else [found]
        alone = answer(text)[0]
        assert alone["label"] == best["label"]
        assert alone["score"] == pytest.approx(best["score"], abs=1e-6)
        scores = sorted((one["score"] for one in (best, *others)), reverse=True)
        np.testing.assert_allclose(scores, expected.sort(descending=True).values, atol=1e-6)


def test_zero_shot_asks_the_class_called_entailment(model_folder: Folders) -> None:
    folder = model_folder("nli")
    found = runwright.pipeline(folder)(TEXTS[0], candidate_labels="sport,food")
    asked = [forward(folder, TEXTS[0], f"This text is about {c}.").logits[0, 2] for c in ("sport", "food")]
    expected = dict(zip(("sport", "food"), torch.stack(asked).softmax(0).tolist(), strict=True))
    assert dict(zip(found["labels"], found["scores"], strict=True)) == pytest.approx(expected, abs=1e-6)
    assert found["scores"] == sorted(found["scores"], reverse=True)


def test_pieces_and_names_have_the_tags_of_the_model(model_folder: Folders) -> None:
    folder, text = model_folder("ner"), "Karl visited AcmeX in Berlin"
    pieces = runwright.pipeline(folder)(text)
    shares = forward(folder, text).logits.softmax(-1)[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
    names = json.loads((folder / "config.json").read_text())["id2label"]
    assert pieces
    for piece in pieces:
        row = shares[piece["index"]]
        assert (piece["entity"], piece["word"]) == (names[str(int(row.argmax()))], tokens[piece["index"]])
        assert piece["score"] == pytest.approx(float(row.max()), abs=1e-6)
    spans = runwright.pipeline(folder, aggregation_strategy="simple")(text)
    assert all(span["word"] == text[span["start"] : span["end"]] for span in spans)
    first = {piece["start"]: piece["score"] for piece in pieces}
    single = [span for span in spans if " " not in span["word"]]
    assert single
    assert [s["score"] for s in single] == pytest.approx([first[s["start"]] for s in single], abs=1e-6)


def test_an_answer_is_the_likeliest_span_of_the_model(model_folder: Folders) -> None:
    folder, context = model_folder("qa"), "Anna works in Paris"
    found = runwright.pipeline(folder)(question="who works", context=context, top_k=None)
    outputs = forward(folder, "who works", context)
    encoded = AutoTokenizer.from_pretrained(folder)("who works", context, return_offsets_mapping=True)
    inside = [n for n, part in enumerate(encoded.sequence_ids()) if part == 1]
    start, end = outputs.start_logits[0].log_softmax(-1), outputs.end_logits[0].log_softmax(-1)
    scores = {(a, b): float(start[a] + end[b]) for a in inside for b in inside if a <= b}
    first, last = max(scores, key=lambda span: scores[span])
    at = encoded["offset_mapping"]
    assert found[0]["answer"] == context[at[first][0] : at[last][1]] == context[slice(*_ends(found[0]))]
    by_span = {(at[a][0], at[b][1]): score for (a, b), score in scores.items()}
    shown = np.exp([by_span[_ends(one)] for one in found])
    assert [one["score"] for one in found] == pytest.approx((shown / shown.sum()).tolist(), abs=1e-6)


def _ends(answer: dict[str, Any]) -> tuple[int, int]:
    return answer["start"], answer["end"]


def test_masks_are_filled_with_the_likeliest_tokens(
    model_folder: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model_folder("bert")
    answer = runwright.pipeline(folder, "fill-mask")
    (first, second) = answer("the [MASK] was [MASK]", top_k=3)
    assert "2 masks" in line_of(capsys)
    shares = forward(folder, "the [MASK] was [MASK]").logits.softmax(-1)[0]
    for found, position in ((first, 2), (second, 4)):
        best = shares[position].topk(3)
        assert [guess["token"] for guess in found] == best.indices.tolist()
        assert [guess["score"] for guess in found] == pytest.approx(best.values.tolist(), abs=1e-6)
    assert second[0]["sequence"] == f"the [MASK] was {second[0]['token_str']}"
    with pytest.raises(DataError, match=r"expected a text with \[MASK\]"):
        answer("no mask")


def test_features_are_the_states_of_a_layer(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = model_folder("bert"), tmp_path / "vectors.jsonl"
    states = [forward(folder, text, kind="BertModel", output_hidden_states=True) for text in TEXTS]
    lines = ["--features", "token", "--layer", "1"]
    assert main(["predict", str(folder), *TEXTS, *lines]) == 0
    for line, expected in zip(capsys.readouterr().out.splitlines(), states, strict=True):
        np.testing.assert_allclose(json.loads(line)["predicted"], expected.hidden_states[1][0], atol=1e-6)
    rows = tmp_path / "texts.csv"
    rows.write_text("\n".join(["text", *TEXTS]), encoding="utf-8")
    flags = ["--file", str(rows), "--output", str(file), "--features", "pooled"]
    assert main(["predict", str(folder), *flags]) == 0
    means = [expected.last_hidden_state[0].mean(0).numpy() for expected in states]
    vectors = [json.loads(line)["predicted"] for line in file.read_text(encoding="utf-8").splitlines()]
    np.testing.assert_allclose(vectors, means, rtol=1e-5, atol=1e-5)
    plain = runwright.pipeline(folder, "feature-extraction")(TEXTS[0])
    np.testing.assert_allclose(plain, states[0].last_hidden_state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "key"), [("gpt2", "generated_text"), ("bart", "summary_text")])
def test_texts_are_those_of_the_models_own_settings(name: str, key: str, model_folder: Folders) -> None:
    folder = model_folder(name)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    kind = "AutoModelForCausalLM" if name == "gpt2" else "AutoModelForSeq2SeqLM"
    model = getattr(transformers, kind).from_pretrained(folder)
    settings: dict[str, Any] = {"num_beams": 2, "max_length": 32, "min_length": 8}  # of the stand-in
    text, prefix = "the film was", "summarize: "
    if name == "gpt2":
        settings, prefix = {"max_new_tokens": 6, "do_sample": False}, tokenizer.eos_token
    overrides = ["generation.max_new_tokens=6"] if name == "gpt2" else []
    (found,) = runwright.pipeline(folder, overrides=overrides)(text)
    ids = model.generate(
        **tokenizer(prefix + text, return_tensors="pt"), pad_token_id=tokenizer.eos_token_id, **settings
    )
    expected = tokenizer.decode(ids[0], skip_special_tokens=True)
    assert found[key].strip() == expected.strip()


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("text2text-generation", "generated_text"),
        ("translation_en_to_fr", "translation_text"),
        ("summarization", "summary_text"),
    ],
)
def test_texts_have_the_name_of_transformers_pipeline_of_the_task(
    task: str, key: str, model_folder: Folders
) -> None:
    overrides = ["generation.max_new_tokens=4", "generation.min_new_tokens=0"]
    answer = runwright.pipeline(model_folder("bart"), task, overrides=overrides)("the film was")
    assert [[*one] for one in answer] == [[key]]


def test_an_override_that_the_models_own_settings_contradict_is_refused(model_folder: Folders) -> None:
    expected = "min_new_tokens: given 7, expected at most generation.max_new_tokens, which is 5"
    with pytest.raises(ConfigError, match=expected):
        runwright.pipeline(model_folder("bart"), overrides=["generation.max_new_tokens=5"])


def leaves(answer: Any) -> list[Any]:
    """All values of an answer, in their order."""
    if isinstance(answer, dict | list):
        inner = answer.values() if isinstance(answer, dict) else answer
        return [leaf for value in inner for leaf in leaves(value)]
    return [answer]


@pytest.mark.parametrize(
    ("name", "task", "inputs"),
    [
        ("ner", None, ["Karl visited AcmeX in Berlin", "Anna", "The museum of Paris was warm and slow"]),
        ("qa", None, [{"question": "who works", "context": text} for text in TEXTS]),
        ("bert", None, ["the [MASK] was [MASK]", "a [MASK]", "the long letter about [MASK] was not bad"]),
        ("bert", "feature-extraction", TEXTS),
    ],
)
def test_answers_of_a_batch_are_those_of_each_text_alone(
    name: str, task: str | None, inputs: list[Any], model_folder: Folders
) -> None:
    answer = runwright.pipeline(model_folder(name), task)
    tolerance = 1e-5 if task else 1e-6  # states are numbers up to 5 in float32
    for one, among in zip(inputs, answer(inputs), strict=True):
        alone, together = leaves(answer(one)), leaves(among)
        is_number = [isinstance(value, float) for value in alone]
        assert [isinstance(value, float) for value in together] == is_number
        for value, other, number in zip(alone, together, is_number, strict=True):
            assert other == (pytest.approx(value, abs=tolerance) if number else value)


# --- evaluation -------------------------------------------------------------------------------------------


def test_a_model_is_evaluated_on_any_data(model_folder: Folders, tmp_path: Path) -> None:
    folder, file = model_folder("sentiment"), tmp_path / "rows.jsonl"
    labels = ["POSITIVE", "NEGATIVE", "POSITIVE"]
    rows = [{"review": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = ["dataset=json", f"dataset.source.files.test={file}", "dataset.columns={text:review}"]
    data += ["metric=[accuracy]", f"output_dir={tmp_path}"]
    (result,) = runwright.evaluate(folder, data)
    chances = torch.cat([forward(folder, text).logits for text in TEXTS]).log_softmax(-1)
    right = torch.tensor([1, 0, 1])
    losses = -chances[range(3), right]
    assert result.metrics["test/loss"] == pytest.approx(float(losses.mean()), abs=3e-6)
    assert result.metrics["test/accuracy"] == pytest.approx(
        float((chances.argmax(-1) == right).float().mean())
    )
    assert result.folder is not None
    lines = (result.folder / "predictions" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["loss"] for line in lines] == pytest.approx(losses.tolist(), abs=3e-6)


def test_an_evaluation_needs_data_with_labels_of_the_model(
    model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = model_folder("multi_label")
    with pytest.raises(ConfigError, match="is no run and has no data; add dataset=csv"):
        runwright.evaluate(folder)
    Path("rows.jsonl").write_text('{"text": "a", "label": ["kind"]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"split 'test', row 0.*the 3 classes are 'toxic', 'insult'"):
        runwright.evaluate(folder, ["dataset=json", "dataset.source.files.test=rows.jsonl"])
    Path("rows.jsonl").write_text('{"review": "a", "mood": "kind"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"columns: 'review', 'mood'; task\.text_column names it"):
        runwright.evaluate(folder, ["dataset=json", "dataset.source.files.test=rows.jsonl"])


# --- names ------------------------------------------------------------------------------------------------


def test_a_folder_of_a_model_comes_before_a_run_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"\(no runs in outputs yet\)$"):  # no name of a model on a hub
        find_model(Named(name="latest"))
    run = create({"name": "one", "output_dir": "outputs"}, overrides=[], command=[])
    Path("latest").mkdir()
    assert find_model(Named(name="latest")) == run
    Path("one").mkdir()
    Path("one/config.json").touch()
    assert find_model(Named(name="one")) == Named(name="one")
    asked = Named(name="owner/name")
    assert find_model(asked) is asked
    with pytest.raises(ConfigError, match=r"expected a run's folder.*on a hub add --task"):
        find_model(Named(name="lates"))
    for typo in ("on", "oen"):
        with pytest.raises(ConfigError, match=r"did you mean '\./one'\?$"):
            find_model(Named(name=typo))
    with pytest.raises(ConfigError, match="did you mean 'latest:one'"):  # the folder of an experiment's runs
        find_model(Named(name="outputs/one"))
    with pytest.raises(ConfigError, match="which has its own; leave it out"):
        find_model(Named(name="latest", task="pos"))


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("bert", ["--task", "sequence_classification"], "lacks bert.pooler.dense.bias"),
        ("bert", ["--task", "clasification"], "did you mean"),
        ("gpt2", ["--task", "fill-mask"], "has no mask token"),
        ("sentiment", ["--group", "none"], "given for a SequenceClassification, which has nothing"),
        (
            "sentiment",
            ["--generation", "greedy"],
            "generates no texts; leave generation=… (--generation) out",
        ),
        ("gpt2", ["--logits", "raw.npz"], "CausalLanguageModeling keeps no outputs"),
        ("bert", ["--features", "token", "--layer", "3"], "expected 0 (embeddings) to 2"),
    ],
)
def test_what_a_model_cannot_do_is_one_line(
    name: str, arguments: list[str], says: str, model_folder: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model_folder(name)), "the film", *arguments]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_a_pipeline_may_be_asked_for_as_that_of_transformers(model_folder: Folders) -> None:
    folder = model_folder("sentiment")
    answer = runwright.pipeline("sentiment-analysis", model=folder)("the film")
    assert answer == runwright.pipeline(folder)("the film")
    with pytest.raises(ConfigError, match="did you mean 'sentiment-analysis'"):
        runwright.pipeline("sentimant-analysis", model=folder)


@pytest.mark.parametrize(
    ("name", "options", "asked", "says"),
    [
        ("ner", {"aggregation_strategy": "max"}, {}, "given 'max', expected none or simple"),
        ("sentiment", {}, {"top_k": 0}, "top_k: given 0"),
        (
            "nli",
            {},
            {"candidate_labels": []},
            "candidate_labels: given '', expected 2 or more different",
        ),
        ("nli", {}, {"candidate_labels": "a,b", "hypothesis_template": "a book"}, "a sentence with {}"),
    ],
)
def test_a_pipeline_refuses_what_it_cannot_do(
    name: str, options: dict[str, Any], asked: dict[str, Any], says: str, model_folder: Folders
) -> None:
    with pytest.raises(ConfigError, match=says):
        runwright.pipeline(model_folder(name), **options)("the film", **asked)


def test_a_record_without_a_text_is_an_empty_one(model_folder: Folders) -> None:
    for name in ("gpt2", "sentiment", "ner"):
        answer = runwright.pipeline(model_folder(name))
        assert answer({"text": None}) == answer("")
    with pytest.raises(DataError, match="given '', expected a text with"):
        runwright.pipeline(model_folder("bert"))({"text": None})


def test_a_random_head_is_used_on_demand(model_folder: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--task", "text-classification", "--allow-new-weights"]
    assert main(["predict", str(model_folder("bert")), "the film", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] in ("LABEL_0", "LABEL_1")


def test_a_folder_that_holds_no_model_says_why(
    folders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders.write("sentiment", tmp_path / "model")
    whole = shutil.copytree(folder, tmp_path / "other")
    folders.change_config(whole, architectures=None)
    with pytest.raises(ConfigError, match="no architecture, which tells no task; add --task"):
        runwright.pipeline(whole)
    folders.change_config(whole, model_type="asp")
    with pytest.raises(ConfigError, match="model type `asp`"):
        runwright.pipeline(whole)
    monkeypatch.chdir(tmp_path)
    for name in ("other/config.json", folders.remove_config(folder)):
        with pytest.raises(ConfigError, match=r"no folder with a config\.json"):
            runwright.pipeline(name)
    with pytest.raises(ConfigError, match=r"'none\.gguf' does not exist"):
        runwright.pipeline("none.gguf")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dim": "wide"}, "cannot load '.*': .*'dim'"),
        ({"n_heads": 0}, "cannot load '.*': "),
        ({"problem_type": "odd"}, "task.problem: given 'odd'"),
        ({"architectures": [None]}, "names None, which tells no task"),
        ({"id2label": {"0": "A", "1": "A"}}, "names must be distinct"),
        ({"id2label": {"0": "A", "1": "B", "2": "C"}}, "lacks classifier.bias, classifier.weight"),
    ],
)
def test_an_odd_config_of_a_model_is_one_line(
    changes: dict[str, Any], says: str, folders: ModuleType, model_folder: Folders, tmp_path: Path
) -> None:
    folder = shutil.copytree(model_folder("sentiment"), tmp_path / "model")
    with pytest.raises(ConfigError, match=says):
        runwright.pipeline(folders.change_config(folder, **changes))


def test_weights_that_are_cut_off_are_one_line(
    model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model_folder("sentiment"), tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    for command in (["predict", str(folder), "bad"], ["show", "model", str(folder)]):
        assert main(command) == 2
        assert f"cannot load {str(folder)!r}: Error while deserializing header" in line_of(capsys)


@pytest.mark.parametrize("name", ['it\'s a "model"', "~x", "back\\slash", "a=b,{c}", "☃"])
def test_a_folder_may_have_any_name(
    name: str, model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder("sentiment"), name)
    assert runwright.pipeline(name)("bad") == runwright.pipeline(model_folder("sentiment"))("bad")


def test_a_model_larger_than_the_memory_is_refused_by_its_headers(
    folders: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    folder = folders.write_sparse(tmp_path / "large", num_bytes=20 * 10**9)  # 10 billion parameters in bf16
    memory = psutil.virtual_memory()
    for free, ways in ((30, r"--dtype bf16 \(20\.0 GB\) or --dtype fp16"), (8, r"a model of 4\.0 billion")):
        monkeypatch.setattr(
            psutil, "virtual_memory", lambda free=free: memory._replace(available=free * 10**9)
        )
        with pytest.raises(
            ConfigError, match=rf"take 40\.0 GB in float32, and {free}\.0 GB are free; {ways}"
        ):
            runwright.pipeline(folder, "text-generation")


def test_pickled_weights_are_converted_once(
    folders: ModuleType, model_folder: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders.keep_only_bin(folders.write("sentiment", tmp_path / "old"))
    with pytest.raises(ConfigError, match=f"runwright convert {folder}"):
        runwright.pipeline(folder)
    assert main(["convert", str(folder)]) == 0
    assert runwright.pipeline(folder)(TEXTS) == runwright.pipeline(model_folder("sentiment"))(TEXTS)
    capsys.readouterr()
    assert main(["convert", str(model_folder("sentiment"))]) == 2
    assert "has no pytorch_model.bin" in line_of(capsys)
    torch.save({"weights": Path("x")}, folder / "pytorch_model.bin")  # a class, which the loader refuses
    assert main(["convert", str(folder)]) == 2
    assert "expected tensors by name alone" in line_of(capsys)


class Opens:
    """Unpickled it would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("ran.txt", "w")


@pytest.mark.parametrize(
    "content",
    [
        {"a": Opens()},
        Opens(),
        b"",
        b"PK\3\4",
        [torch.ones(1)],
        {1: torch.ones(1)},
        {"a": {"b": torch.ones(1)}},
        {"a": torch.eye(2).to_sparse()},
        {"a": torch.empty(2, device="meta")},
    ],
)
def test_pickles_of_anything_but_tensors_by_name_are_refused(
    content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").mkdir()
    file = Path("old", "pytorch_model.bin")
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    assert main(["convert", "old"]) == 2
    assert "expected tensors by name alone" in line_of(capsys)
    assert not Path("ran.txt").exists()


class Hub(BaseHTTPRequestHandler):
    """Answers as a hub does for a gated and for an unknown name."""

    def do_HEAD(self) -> None:
        is_gated = "/gated/" in self.path
        self.send_response(403 if is_gated else 401)
        self.send_header("X-Error-Code", "GatedRepo" if is_gated else "RepoNotFound")
        self.send_header("X-Error-Message", "no")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


def test_a_name_without_a_folder_or_a_hub_is_one_line_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"'owner/nothere' is no folder here, and the hub .* be reached"):
        in_safetensors("owner/nothere")
    assert time.monotonic() - began < 5


def test_pickled_weights_of_a_hub_are_refused_and_nobody_is_asked_to_convert_them(
    model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Pickled(Hub):
        """A repository whose files are all but one unknown."""

        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

    config = transformers.AutoConfig.from_pretrained(model_folder("pos"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Pickled) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name, value in (("OFFLINE", False), ("DISABLE_XET", True)):
            monkeypatch.setattr(constants, f"HF_HUB_{name}", value)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "ENDPOINT", address := f"http://127.0.0.1:{server.server_port}")
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        with pytest.raises(ConfigError, match=r"no safetensors; .* by: runwright convert owner/old"):
            open_model(transformers.AutoModelForTokenClassification, "owner/old", config, None)
        server.shutdown()
    assert any("model.safetensors" in path for path in asked)
    assert not [path for path in asked if "commits" in path or "discussions" in path]


@pytest.mark.slow
def test_a_refused_name_of_a_hub_says_how_to_get_in(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name, says in (
            ("gated/one", "access to it at https://huggingface.co/gated/one. Then log in: hf auth login"),
            ("unknown/one", "not a valid model identifier"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "runwright", "predict", name, "a text"],
                env={"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "PATH": "", "HF_HUB_OFFLINE": "0"},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 2
            line = done.stderr.strip().splitlines()[-1]
            assert says in line
            assert name in line
        server.shutdown()
