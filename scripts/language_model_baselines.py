"""Simpler ways to model the texts of the language model recipes, on one thread.

python scripts/language_model_baselines.py loop TRAIN_FILE VALIDATION_FILE [SEED]: shakespeare_char's model in
a plain PyTorch loop with random blocks, as nanoGPT trains it; loss over the validation file, and seconds.

python scripts/language_model_baselines.py ngram RUN TRAIN_FILE TEST_FILE: 5-grams with modified Kneser-Ney
smoothing (Chen and Goodman 1998) on the tokens of a run of wikitext2_lm; perplexity and bits per byte.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone reads

ORDER, BLOCK, BATCH, STEPS = 5, 64, 12, 2000
Gram = tuple[int, ...]


def loop(train_file: str, validation_file: str, seed: int) -> None:
    """The loop of nanoGPT for its CPU setting, with transformers' GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    texts = [Path(file).read_text("utf-8") for file in (train_file, validation_file)]
    ids = {character: i for i, character in enumerate(sorted({*texts[0]}))}
    train, validation = (torch.tensor([ids[character] for character in text]) for text in texts)
    torch.manual_seed(seed)
    config: Any = GPT2Config(n_embd=128, n_layer=4, n_head=4, n_positions=BLOCK, vocab_size=len(ids))
    config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
    config.bos_token_id = config.eos_token_id = 0
    model: Any = GPT2LMHeadModel(config)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    began = time.monotonic()
    for step in range(STEPS):
        share = (step - 100) / (STEPS - 100)
        rate = (step + 1) / 101 if step < 100 else 0.1 + 0.45 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        starts = torch.randint(len(train) - BLOCK, (BATCH,))
        blocks = torch.stack([train[start : start + BLOCK + 1] for start in starts.tolist()])
        logits = model(blocks[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.flatten(0, 1), blocks[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    seconds = time.monotonic() - began
    model.eval()
    num_blocks = (len(validation) - 1) // BLOCK
    inputs = validation[: num_blocks * BLOCK].view(num_blocks, BLOCK)
    targets = validation[1 : num_blocks * BLOCK + 1].view(num_blocks, BLOCK)
    with torch.inference_mode():
        sums = [
            F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten(), reduction="sum").item()
            for x, y in zip(inputs.split(128), targets.split(128), strict=True)
        ]
    print(f"seed {seed}: loss {sum(sums) / targets.numel():.4f}, trained in {seconds:.1f} s")


class KneserNey:
    """Interpolated modified Kneser-Ney: three discounts an order, counts of contexts below the highest."""

    def __init__(self, tokens: list[int], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        grams = (tuple(tokens[i : i + ORDER]) for i in range(len(tokens) - ORDER + 1))
        self.counts: list[Counter[Gram]] = [Counter(grams)]  # from the highest order down
        for _ in range(ORDER - 1):
            self.counts.append(Counter(gram[1:] for gram in self.counts[-1]))
        self.discounts = [self._discounts(counts) for counts in self.counts]
        self.contexts: list[dict[Gram, list[float]]] = []  # total, and the mass that lower orders get
        for counts, discounts in zip(self.counts, self.discounts, strict=True):
            sums: dict[Gram, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for gram, count in counts.items():
                entry = sums[gram[:-1]]
                entry[0] += count
                entry[1] += discounts[min(count, 3)]
            self.contexts.append(dict(sums))

    @staticmethod
    def _discounts(counts: Counter[Gram]) -> list[float]:
        sizes = Counter(min(count, 5) for count in counts.values())
        y = sizes[1] / (sizes[1] + 2 * sizes[2])
        return [0.0, *(k - (k + 1) * y * sizes[k + 1] / max(1, sizes[k]) for k in (1, 2, 3))]

    def probability(self, gram: Gram) -> float:
        """Of the last token after those before it; every order adds its share to the one below."""
        result = 1 / self.vocab_size
        for length in range(1, len(gram) + 1):
            level = ORDER - length
            part = gram[-length:]
            entry = self.contexts[level].get(part[:-1])
            if entry is None:
                break
            count = self.counts[level].get(part, 0)
            result = (max(0.0, count - self.discounts[level][min(count, 3)]) + entry[1] * result) / entry[0]
        return result


def ngram(run: str, train_file: str, test_file: str) -> None:
    """The n-gram model on the targets of the task, rows that are blank left out."""
    from transformers import AutoTokenizer

    from runwright.task.causal_language_modeling import CausalLanguageModeling
    from runwright.task.text import IGNORED

    tokenizer = AutoTokenizer.from_pretrained(Path(run) / "best")
    options: Any = {"text_column": "text", "max_length": 128, "join_rows": True, "evaluation_stride": None}
    task = CausalLanguageModeling(tokenizer, **options)

    def read(file: str) -> tuple[list[int], int]:
        lines = [line.rstrip("\r\n") for line in Path(file).read_text("utf-8").split("\n") if line.strip()]
        columns = {"text": lines, "row_id": range(len(lines)), "stride": [128]}
        examples = task.encode(columns)
        tokens = [label for example in examples for label in example["labels"] if label != IGNORED]
        return tokens, sum(example["num_bytes"] for example in examples)

    train, (test, num_bytes) = read(train_file)[0], read(test_file)
    model = KneserNey(train, len(tokenizer))
    grams = (tuple(test[max(0, i - ORDER + 1) : i + 1]) for i in range(len(test)))
    total = -math.fsum(math.log(model.probability(gram)) for gram in grams)
    perplexity, bits = math.exp(total / len(test)), total / math.log(2) / num_bytes
    print(f"{len(train):,} tokens to train on, {len(test):,} to test")
    print(f"perplexity {perplexity:.1f}, {bits:.3f} bits per byte")


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, *arguments = sys.argv[1:]
    if command == "loop":
        loop(arguments[0], arguments[1], int(arguments[2]) if len(arguments) > 2 else 0)
    else:
        ngram(*arguments)
