"""Generation: sorted batches of prompts of mixed lengths, against transformers on one after the other."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

NUM_PROMPTS, NEW_TOKENS, VOCABULARY = 500, 32, 8000
BATCH_TOKENS = 2048  # trainer.evaluate_tokens of conf/trainer/default.yaml


def measure_generate(repeats: int) -> dict[str, list[float]]:
    """New tokens a second of both, in turn, their ratio, and the share of texts that are the same.

    Tokens of random weights are often within rounding of each other, so that some texts part.
    """
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from runwright.generation.strategies import Greedy

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        initializer_range=0.06,
    )
    model = LlamaForCausalLM(config).eval()
    chance = np.random.default_rng(0)
    lengths = np.exp(chance.uniform(np.log(4), np.log(200), NUM_PROMPTS)).astype(int)
    prompts = [chance.integers(3, VOCABULARY, length).tolist() for length in lengths]
    strategy = Greedy(
        max_new_tokens=NEW_TOKENS,
        min_new_tokens=NEW_TOKENS,
        no_repeat_ngram_size=0,
        repetition_penalty=1.0,
        stop_strings=[],
    )
    rates: dict[str, list[float]] = {"ours, tokens/s": [], "one by one, tokens/s": []}
    same: list[float] = []
    for _ in range(repeats):
        texts: list[list[list[int]]] = []
        for name, generate_all in zip(rates, (_ours, _one_by_one), strict=True):
            began = time.perf_counter()
            texts.append(generate_all(model, prompts, strategy))
            rates[name].append(NUM_PROMPTS * NEW_TOKENS / (time.perf_counter() - began))
        same.append(sum(one == other for one, other in zip(*texts, strict=True)) / NUM_PROMPTS)
    ours, theirs = rates.values()
    ratio = [one / other for one, other in zip(ours, theirs, strict=True)]
    return rates | {"ratio": ratio, "equal texts share": same}


def _ours(model: Any, prompts: list[list[int]], strategy: Any) -> list[list[int]]:
    import numpy as np
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from runwright.generation.decode import generate
    from runwright.trainer.batches import Cut, cut_batch

    tokenizer = SimpleNamespace(pad_token_id=0, eos_token_id=1)
    texts: list[list[int]] = [[]] * len(prompts)
    widths = np.array([len(prompt) + strategy.max_new_tokens for prompt in prompts])
    for places in map(np.ndarray.tolist, cut_batch(widths, Cut(microbatch_tokens=BATCH_TOKENS))):
        ids = [torch.tensor(prompts[place]) for place in places]
        batch = pad_sequence(ids, batch_first=True)
        mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
        rows = generate(model, batch, mask, strategy=strategy, tokenizer=tokenizer, example_ids=places)
        for place, [row] in zip(places, rows, strict=True):
            texts[place] = row
    return texts


def _one_by_one(model: Any, prompts: list[list[int]], strategy: Any) -> list[list[int]]:
    import torch

    config = strategy.to_config(model, SimpleNamespace(pad_token_id=0, eos_token_id=1))
    texts = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        output = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        texts.append(output[0, len(prompt) :].tolist())
    return texts
