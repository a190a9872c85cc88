"""What groups of processes are asked to do; each function runs in every process of a group."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast

from runwright.task.answers import NO_ANSWER
from runwright.task.causal_language_modeling import CausalLanguageModeling
from runwright.task.masked_language_modeling import MaskedLanguageModeling
from runwright.task.question_answering import QuestionAnswering
from runwright.task.sentence_embedding import SentenceEmbedding
from runwright.task.sequence_classification import SequenceClassification
from runwright.task.sequence_to_sequence import Denoising, SequenceToSequence
from runwright.task.token_classification import TokenClassification
from runwright.trainer.batches import Batches, Cut, StepBatch
from runwright.trainer.evaluate import evaluate, predict
from runwright.trainer.ranks import Ranks, end_ranks, set_threads, start_ranks
from runwright.trainer.step import Stepper
from runwright.types import LossSum

WORDS = ["good", "bad", "fine", "dull", "a", "film", "plot", "very", "not", "and", "long", "short"]
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
NAMES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "bart": {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    },
    "t5": {
        "d_model": 16,
        "d_kv": 8,
        "num_layers": 1,
        "num_heads": 2,
        "d_ff": 32,
        "decoder_start_token_id": 0,
    },
}
DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "dropout_rate"),
)
DROPOUTS_OF_HEADS = ("classifier_dropout", "seq_classif_dropout")

# (problem, architecture); "pair" and "coupled" are single-label on two texts, and a loss over the batch;
# "embedding" has in-batch negatives, "answers" the two ends of a span, "hidden_tokens" masks by chance,
# "hidden_pairs" has a second loss with a denominator of its own, "infilling" targets made by chance,
# "texts" targets of other lengths than their sources, "next_tokens" blocks that run over several texts
PROBLEMS = (
    ("single_label", "bert"), ("single_label", "roberta"), ("single_label", "distilbert"), ("pair", "bert"),
    ("multi_label", "bert"), ("regression", "bert"), ("coupled", "bert"),
    ("embedding", "bert"), ("answers", "bert"), ("tags", "bert"), ("hidden_tokens", "bert"),
    ("hidden_pairs", "bert"), ("texts", "t5"), ("next_tokens", "llama"), ("infilling", "bart"),
)  # fmt: skip
CUTS = {1: (1, 4, 8), 2: (4, 3), 4: (2, 4), 3: (4, 2)}  # microbatches by the number of processes
ASSIGNMENTS = ("by cost", "prefix", "reversed", "last rank")


def execute_run(folder: Path, *, dtype: str = "float32") -> int:
    """A whole run, begun or gone on with."""
    from runwright import build
    from runwright.errors import RunwrightError
    from runwright.runs.execute import execute

    build_model = build.build_model
    build.build_model = lambda *given, **named: build_model(*given, **named).to(getattr(torch, dtype))
    try:
        execute(folder)
    except RunwrightError as error:
        print(error)
        return error.exit_code
    return 0


def save_tokenizer(folder: Path) -> None:
    """The tiny tokenizer as a folder that `from_pretrained` loads."""
    make_task("single_label").tokenizer.save_pretrained(folder)


def parity(folder: Path) -> None:
    """Loss and gradient of one step for every problem, precision, cut and assignment to ranks.

    In single precision, in which a wrong assignment would show no better, microbatches go by cost only.
    """
    ranks = join()
    found: dict[str, np.ndarray] = {}
    for problem, architecture in PROBLEMS:
        task = make_task(problem)
        examples = make_examples(task, 8)
        for dtype in (torch.float64, torch.float32):
            model = make_model(task, architecture, dropout=0.0).to(dtype)
            is_alike = ranks.num_ranks == 1 or dtype == torch.float32
            for count in CUTS[ranks.num_ranks]:
                for assignment in ASSIGNMENTS[: 1 if is_alike else None]:
                    name = f"{problem}/{architecture}/{dtype}/{count}x{ranks.num_ranks} {assignment}"
                    found[name] = one_step(task, model, examples, count, assignment, ranks)
    if ranks.is_first:
        np.savez(folder / f"parity-{ranks.num_ranks}.npz", **found)
    end_ranks(ranks)


def one_step(task: Any, model: Any, examples: Any, count: int, assignment: str, ranks: Ranks) -> np.ndarray:
    """The loss and after it the whole gradient, [1 + P] float64; the weights stay as they are."""
    cut = Cut(microbatch_size=-(-8 // count))
    batches = Batches(examples, task, batch_size=8, seed=0, cut=cut)
    batch = batches.at(0)
    assert len(batch.sizes) == count
    if assignment == "by cost":
        batches.ranks = ranks
        batch = batches.at(0)
    else:
        batch = replace(batch, microbatches=tuple(share(batch, assignment, ranks)))
    stepper = make_stepper(model, task, ranks, lr=0.0)
    gradients: list[np.ndarray] = []

    def keep(*_: Any) -> None:
        zeros = [p if p.grad is None else p.grad for p in model.parameters()]
        used = [0.0 if p.grad is None else 1.0 for p in model.parameters()]
        gradients.append(
            np.concatenate(
                [(z * u).double().flatten().numpy(force=True) for z, u in zip(zeros, used, strict=True)]
            )
        )

    stepper.optimizer.register_step_pre_hook(keep)
    result = stepper.step(batch)
    return np.concatenate([[result.loss], gradients[0]])


def share(batch: StepBatch, assignment: str, ranks: Ranks) -> Iterator[Any]:
    """This rank's microbatches where they are given out otherwise than by cost."""
    for microbatch in batch.microbatches:
        index, last = microbatch.index, ranks.num_ranks - 1
        owner = {
            "prefix": index * ranks.num_ranks // len(batch.sizes),
            "reversed": last - index % ranks.num_ranks,
            "last rank": last,  # the others have none
        }[assignment]
        if owner == ranks.rank:
            yield microbatch


def curve(folder: Path, *, num_steps: int) -> None:
    """The loss of each step of a training with dropout, and the weights at its end on every rank."""
    ranks = join()
    curves: dict[str, list[str]] = {}
    for dtype in (torch.float64, torch.float32):
        task = make_task("single_label")
        model = make_model(task, "bert", dropout=0.2).to(dtype)
        batches = Batches(
            make_examples(task, 30), task, batch_size=8, seed=1, cut=Cut(microbatch_size=2), ranks=ranks,
        )  # fmt: skip
        stepper = make_stepper(model, task, ranks, lr=1e-3)
        curves[str(dtype)] = [stepper.step(batch).loss.hex() for batch in batches.iterate(0, num_steps)]
        weights = b"".join(p.numpy(force=True).tobytes() for p in model.parameters())
        digests = ranks.gather(hashlib.sha256(weights).digest())
        assert len(set(digests)) == 1, "the replicas drifted apart"
    if ranks.is_first:
        (folder / f"curve-{ranks.num_ranks}.json").write_text(json.dumps(curves))
    end_ranks(ranks)


def evaluation(folder: Path) -> None:
    """Figures and predictions of splits of several sizes."""
    from runwright.metric.classification import accuracy
    from runwright.metric.means import pearson

    ranks = join()
    found: dict[str, Any] = {}
    for problem, metric in (("single_label", accuracy), ("regression", pearson), ("multi_label", None)):
        task = make_task(problem)
        model = make_model(task, "bert", dropout=0.2)
        for count in (1, 2, 5, 37):
            examples = make_examples(task, count)
            seen: list[tuple[int, int]] = []
            predictions = predict(
                model, task, examples, max_tokens=48, ranks=ranks,
                on_progress=lambda done, of, seen=seen: seen.append((done, of)),
            )  # fmt: skip
            assert predictions.example_ids.tolist() == sorted(examples.example_ids.tolist())
            shares = ranks.sum_vector([float(seen[-1][0]) if seen else 0.0]).tolist()
            assert shares == [count], "an example was computed twice, or never"
            metrics = {"metric": metric} if metric else {}
            figures = evaluate(predictions, metrics=metrics).metrics
            arrays = [predictions.predicted, predictions.losses]
            found[f"{problem}/{count}"] = {
                "figures": {name: value.hex() for name, value in figures.items()},
                "predictions": hashlib.sha256(b"".join(map(np.ndarray.tobytes, arrays))).hexdigest(),
            }
    texts = ranks.gather(json.dumps(found).encode())
    assert len(set(texts)) == 1, "not the same figures on every rank"
    if ranks.is_first:
        (folder / f"evaluation-{ranks.num_ranks}.json").write_text(json.dumps(found))
    end_ranks(ranks)


def generation(folder: Path) -> None:
    """Texts of a small encoder-decoder by each strategy, on this number of processes and cut otherwise."""
    from runwright.generation.strategies import Beam, Greedy, PromptLookup, Sample

    ranks = join()
    common: dict[str, Any] = {
        "max_new_tokens": 8, "min_new_tokens": 0, "no_repeat_ngram_size": 3, "repetition_penalty": 1.2,
        "stop_strings": ["plot"],
    }  # fmt: skip
    task = SequenceToSequence(
        make_task("single_label").tokenizer, source_column="source", target_column="target", prefix="",
        max_length=32, max_target_length=32, source_language=None, target_language=None,
        forced_first_token=None, label_smoothing=0.0, target_tokenizer=None,
    )  # fmt: skip
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    ids = {"pad_token_id": task.tokenizer.pad_token_id, "eos_token_id": task.tokenizer.sep_token_id}
    config = AutoConfig.for_model(
        "t5", vocab_size=len(task.tokenizer), decoder_start_token_id=0, **sizes, **ids
    )
    model: Any = transformers.AutoModelForSeq2SeqLM.from_config(config)
    beams: dict[str, Any] = {"num_beams": 4, "length_penalty": 1.0, "early_stopping": True}
    draws: dict[str, Any] = {"temperature": 1.0, "top_k": None, "top_p": 0.9, "min_p": None, "seed": 1}
    texts: dict[str, Any] = {}
    for strategy in (
        Greedy(**common),
        Beam(**common, **beams, num_return_sequences=1),
        Sample(**common, **draws, num_return_sequences=2),
        PromptLookup(**common, prompt_lookup_num_tokens=4, max_matching_ngram_size=2),
    ):
        task.strategy = strategy
        examples = make_examples(task, 19)
        rows = {"row_id": examples.example_ids.tolist(), "source": [""] * 19}
        predictions = predict(model, task, examples, max_tokens=200 * ranks.num_ranks, ranks=ranks)
        predicted: Any = task.assemble_records(predictions, rows).predicted
        texts[type(strategy).__name__] = predicted.tolist()
    if ranks.is_first:
        (folder / f"generation-{ranks.num_ranks}.json").write_text(json.dumps(texts))
    end_ranks(ranks)


def odd_cases(folder: Path) -> None:
    """Parameters that some ranks do not use, a gradient scaler without a loss, large and empty messages."""
    ranks = join()
    one, other, never = (torch.nn.Parameter(torch.ones(3)) for _ in range(3))
    one.grad = torch.full((3,), 1.0 + ranks.rank)
    if ranks.rank == ranks.num_ranks - 1:
        other.grad = torch.full((3,), 5.0)
    from runwright.trainer.ranks import sum_gradients

    sum_gradients([one, other, never], ranks)
    total = ranks.num_ranks * (ranks.num_ranks + 1) / 2
    assert one.grad.tolist() == [total] * 3
    assert other.grad is not None
    assert other.grad.tolist() == [5.0] * 3
    assert never.grad is None  # an optimizer leaves it alone, as it does in one process

    data = bytes([ranks.rank]) * (ranks.rank * 3_000_000)  # the first rank sends nothing
    assert ranks.gather(data) == [bytes([r]) * (r * 3_000_000) for r in range(ranks.num_ranks)]
    assert ranks.gather(b"") == [b""] * ranks.num_ranks
    assert ranks.per_rank(-float(ranks.rank)) == [-float(rank) for rank in range(ranks.num_ranks)]

    task = make_task("single_label")
    model = make_model(task, "bert", dropout=0.0)
    assert ranks.accelerator is not None
    ranks.accelerator.scaler = torch.amp.GradScaler("cpu")
    stepper = make_stepper(model, task, ranks, lr=1e-3)
    batches = Batches(
        make_examples(task, 8), task, batch_size=8, seed=0, cut=Cut(),
        ranks=ranks,
    )  # fmt: skip
    for step in range(3):  # one microbatch: all ranks but one have none
        assert torch.tensor(stepper.step(batches.at(step)).gradient_norm).isfinite()
    end_ranks(ranks)


def lost_and_late(folder: Path, *, last_rank: str) -> None:
    """What a rank sees when another one leaves, or does not come within the time limit."""
    import os
    import time

    from runwright.launch.worker import read_report, write_report

    ranks = start_ranks("cpu", num_processes=int(os.environ["WORLD_SIZE"]), timeout_seconds=2)
    ranks.barrier()
    if ranks.rank == ranks.num_ranks - 1:
        time.sleep(0.2 if last_rank == "leaves" else 4)
        os._exit(0)
    try:
        ranks.barrier()
    except RuntimeError as error:
        write_report(folder, ranks.rank, error, exit_code=1)
    report = read_report(folder, ranks.rank)
    assert report is not None, "nothing was noticed"
    # Those that lost the last rank leave in turn: an echo to the others, whichever way it began.
    expected = {"echo"} if last_rank == "leaves" else {"timeout", "echo"}
    assert report.kind in expected, report
    os._exit(0)


# --- a tiny model, task and data ----------------------------------------------------------------------------


def join(strategy: str = "replicated") -> Ranks:
    import os

    ranks = start_ranks("cpu", num_processes=int(os.environ.get("WORLD_SIZE", "1")), strategy=strategy)
    set_threads(1)
    return ranks


class Coupled:
    """In-batch negatives between two halves of the logits, a toy."""

    num_losses = 1

    def __init__(self, inner: SequenceClassification) -> None:
        self.inner = inner
        self.head, self.collate, self.forward = inner.head, inner.collate, inner.forward
        self.text_columns, self.problem, self.encode = inner.text_columns, inner.problem, inner.encode

    def count(self, examples: Sequence[Any]) -> float:
        return float(len(examples))

    def augment(self, examples: Sequence[Any], *, seed: int, epoch: int) -> Sequence[Any]:
        return examples

    def loss(self, outputs: Any, batch: Any) -> LossSum:
        raise AssertionError("a coupled task has no loss of a microbatch")

    def predictions(self, outputs: Any, batch: Any) -> Any:
        raise NotImplementedError

    def coupled_loss(self, outputs: torch.Tensor) -> LossSum:
        first, second = 10 * outputs[:, :2], 10 * outputs[:, 2:]
        targets = torch.arange(len(outputs))
        total = torch.nn.functional.cross_entropy(first @ second.T, targets, reduction="sum")
        return LossSum(total=total, count=float(len(outputs)))


class ListExamples:
    """Examples in a list."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items
        self.lengths = self.widths = np.array([len(item["input_ids"]) for item in items])
        self.example_ids = np.array([item["example_id"] for item in items])

    def __len__(self) -> int:
        return len(self.items)

    def fetch(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return [self.items[position] for position in positions]


def make_task(problem: str) -> Any:
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "[MASK]", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
    )
    if problem == "tags":
        tags = TokenClassification(
            tokenizer, words_column="words", text_column="text", tags_column="tags", tag_names=None,
            scheme="plain", train_on="first", max_length=40, overlap=4,
            label_smoothing=0.1, class_weights=None,
        )  # fmt: skip
        tags.load_state_dict({"label_names": ["O", "x", "y", "z"], "class_weights": None})
        return tags
    if problem == "texts":
        return SequenceToSequence(
            tokenizer, source_column="text", target_column="target", prefix="", max_length=40,
            max_target_length=12, source_language=None, target_language=None, forced_first_token=None,
            label_smoothing=0.1, target_tokenizer=None,
        )  # fmt: skip
    if problem == "next_tokens":
        tokenizer.eos_token = "[MASK]"
        options: Any = {"text_column": "text", "max_length": 7, "join_rows": True, "evaluation_stride": None}
        return CausalLanguageModeling(tokenizer, **options)
    if problem in ("hidden_tokens", "hidden_pairs"):
        pairs = problem == "hidden_pairs"
        if pairs:
            words.post_processor = processors.TemplateProcessing(
                single="$A", pair="$A [UNK] $B", special_tokens=[("[UNK]", 1)]
            )
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]"
            )
        return MaskedLanguageModeling(
            tokenizer, text_column="text", max_length=8 if pairs else 40, join_rows=pairs,
            mask_probability=0.3, mask_share=0.8, random_share=0.1, whole_words=False, next_sentence=pairs,
        )  # fmt: skip
    if problem == "infilling":
        return Denoising(
            tokenizer, text_column="text", max_length=40, join_rows=False, objective="infilling",
            mask_probability=0.3, mean_span_length=2.0,
        )  # fmt: skip
    if problem == "embedding":
        return SentenceEmbedding(
            tokenizer, problem="retrieval", text_column="text", text_pair_column="pair",
            negative_column="other", label_column=None, label_min=0.0, label_max=1.0, pooling="mean",
            normalize=True, objective="in_batch_negatives", scale=20.0, margin=0.5,
            max_length=40,
        )  # fmt: skip
    if problem == "answers":
        return QuestionAnswering(
            tokenizer, question_column="question", context_column="context", answers_column="answers",
            misplaced_answers="refuse", max_length=40, overlap=4, max_question_length=16,
            max_answer_length=8, n_best=4, no_answer_threshold=0.0, normalization="squad",
        )  # fmt: skip
    kind: Any = "single_label" if problem in ("pair", "coupled") else problem
    task = SequenceClassification(
        tokenizer, problem=kind, text_column="text", text_pair_column="pair" if problem == "pair" else None,
        label_column="label", label_separator=",", label_names=None, label_file=None, group_column=None,
        max_length=40, label_smoothing=0.1 if kind == "single_label" else 0.0, class_weights=None,
        threshold=0.5,
        bias_from_labels=False,
        positive_label=None,
    )  # fmt: skip
    names = [] if problem == "regression" else ["w", "x", "y", "z"]
    weights = [0.2, 1.0, 3.7, 1.1] if problem == "single_label" else None
    task.load_state_dict({"label_names": names, "group_names": [], "class_weights": weights})
    return Coupled(task) if problem == "coupled" else task


def make_examples(task: Any, count: int) -> ListExamples:
    chance = random.Random(0)
    rows: dict[str, list[Any]] = {"row_id": list(range(100, 100 + count)), "labels": []}
    for column in getattr(task, "row_texts", task.text_columns):
        rows[column] = [" ".join(chance.choices(WORDS, k=chance.randint(1, 16))) for _ in range(count)]
    if task.problem == "answers":  # the last word, or no answer
        ends = [
            (text.rfind(" ") + 1, len(text)) if chance.random() < 0.7 else NO_ANSWER
            for text in rows["context"]
        ]
        rows |= {"from": [start for start, _ in ends], "to": [end for _, end in ends]}
    for _ in range(count):
        if task.problem == "regression":
            rows["labels"].append(chance.uniform(-4, 4))
        elif task.problem == "texts":
            rows["labels"].append([rows["target"][len(rows["labels"])]])
        elif task.problem == "tags":
            num_words = len(rows["text"][len(rows["labels"])].split())
            rows["labels"].append([chance.randrange(4) for _ in range(num_words)])
        elif task.problem == "texts":
            rows["labels"].append([" ".join(chance.choices(WORDS, k=chance.randint(1, 9)))])
        elif task.problem == "multi_label":
            rows["labels"].append(sorted(chance.sample(range(4), k=chance.randint(0, 3))))
        else:
            rows["labels"].append(chance.randrange(4))
    return ListExamples(task.encode(rows))


def make_model(task: Any, architecture: str, *, dropout: float) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture, vocab_size=len(WORDS) + 3, max_position_embeddings=48,
        num_labels=task.head.num_labels or 2, pad_token_id=0, **NAMES.get(architecture, SIZE),
    )  # fmt: skip
    for name in (*DROPOUTS, *DROPOUTS_OF_HEADS):
        if hasattr(config, name):
            setattr(config, name, dropout)
    return getattr(transformers, task.head.auto_class).from_config(config)


def make_stepper(model: Any, task: Any, ranks: Ranks, *, lr: float) -> Stepper:
    parameters = list(model.parameters())
    return Stepper(
        model=model, task=task, optimizer=torch.optim.AdamW(parameters, lr=lr), parameters=parameters,
        ranks=ranks, dropout_seed=3, max_grad_norm=None, non_finite="stop",
    )  # fmt: skip
