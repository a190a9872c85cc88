"""Decoding: a prompt gets the tokens that plain transformers gives it alone, whatever is in its batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from runwright.config.targets import instantiate
from runwright.errors import DataError
from runwright.generation.decode import Stops, generate
from runwright.generation.strategies import Beam, Greedy, PromptLookup, Sample, Strategy
from runwright.model.padding_free import NAME, use_padding_free

END = 1
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48, "bos_token_id": END},
    "llama": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "bos_token_id": 2,
    },
    "t5": {
        "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4, "pad_token_id": 0,
        "decoder_start_token_id": 0,
    },
    "bart": {
        "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "pad_token_id": 3,
        "max_position_embeddings": 48, "decoder_start_token_id": 2, "bos_token_id": 2,
        "forced_eos_token_id": END,
    },
}  # fmt: skip
SIZES["marian"] = SIZES["bart"] | {"decoder_start_token_id": 3}
COMMON: dict[str, Any] = {
    "max_new_tokens": 8, "min_new_tokens": 0, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0,
    "stop_strings": [],
}  # fmt: skip
PENALTIES = COMMON | {"no_repeat_ngram_size": 2, "repetition_penalty": 1.3}
BEAMS: dict[str, Any] = {"num_beams": 4, "length_penalty": 1.0, "early_stopping": True}
SAMPLING: dict[str, Any] = {
    "temperature": 0.9, "top_k": 30, "top_p": 0.95, "min_p": None, "num_return_sequences": 2, "seed": 3,
}  # fmt: skip
STRATEGIES: dict[str, Strategy] = {
    "greedy": Greedy(**PENALTIES),
    "beam": Beam(**COMMON, **BEAMS, num_return_sequences=2),
    "penalized beam": Beam(**PENALTIES, **BEAMS, num_return_sequences=1),
    "sample": Sample(**PENALTIES, **SAMPLING),
    "prompt lookup": PromptLookup(**COMMON, prompt_lookup_num_tokens=5, max_matching_ngram_size=2),
}
CHANCE = np.random.default_rng(0)
PROMPTS = [CHANCE.integers(4, 97, size).tolist() for size in (3, 30, 7, 12, 1, 25, 9, 18)]


def make(name: str) -> Any:
    """A small model of random weights, larger ones than usual so that texts differ and end."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        name, **{"vocab_size": 97, "pad_token_id": END, "eos_token_id": END} | SIZES[name]
    )
    model = (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM).from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
    return model.eval()


def tokenizer_of(model: Any) -> Any:
    def batch_decode(rows: torch.Tensor, **_: Any) -> list[str]:
        return ["".join(f"<{token}>" for token in row) for row in rows.tolist()]

    ids = {"pad_token_id": model.config.pad_token_id, "eos_token_id": END}
    return SimpleNamespace(**ids, batch_decode=batch_decode)


def run(
    model: Any, strategy: Strategy, rows: Sequence[int], *, left: bool = False, **more: Any
) -> list[list[list[int]]]:
    """The new tokens of these prompts in one batch, padded on one side."""
    width = max(len(PROMPTS[row]) for row in rows)
    ids = torch.full((len(rows), width), model.config.pad_token_id)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        place = slice(width - len(PROMPTS[row]), None) if left else slice(len(PROMPTS[row]))
        ids[index, place], mask[index, place] = torch.tensor(PROMPTS[row]), 1
    return generate(
        model, ids, mask, strategy=strategy, tokenizer=tokenizer_of(model), example_ids=[*rows], **more
    )


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("gpt2", "bart", "marian")]


@pytest.mark.parametrize("name", ["llama", "t5", *SLOW])
def test_a_batch_changes_no_text_and_texts_are_those_of_transformers(name: str) -> None:
    model = make(name)
    for kind, strategy in STRATEGIES.items():
        alone = [run(model, strategy, [row])[0] for row in range(8)]
        threes = [run(model, strategy, range(start, min(8, start + 3)), left=True) for start in (0, 3, 6)]
        assert [texts for three in threes for texts in three] == alone, kind
        assert run(model, strategy, range(7, -1, -1))[::-1] == alone, kind
        if not isinstance(strategy, Sample):
            assert alone == [[*plain(model, strategy, row)] for row in range(8)], kind


def plain(model: Any, strategy: Strategy, row: int) -> list[list[int]]:
    """What `model.generate` gives for one prompt, up to the end."""
    prompt = torch.tensor([PROMPTS[row]])
    config = strategy.to_config(model, tokenizer_of(model))
    output = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
    start = 1 if model.config.is_encoder_decoder else prompt.shape[1]
    return [ids[: ids.index(END)] if END in ids else ids for ids in output[:, start:].tolist()]


def test_a_penalty_may_be_a_whole_number() -> None:
    model, node = make("llama"), {"_target_": "runwright.generation.strategies.Greedy", **COMMON}
    nodes = [node | {"repetition_penalty": penalty} for penalty in (2, 2.0)]
    texts = [run(model, instantiate(node, group="generation"), [0, 1]) for node in nodes]
    assert texts[0] == texts[1]


def test_tokens_are_drawn_as_often_as_their_probabilities_say() -> None:
    model, num_draws = make("llama"), 4000
    options: dict[str, Any] = {"temperature": 1.5, "top_k": 5, "top_p": None, "min_p": None, "seed": 0}
    strategy = Sample(**dict(COMMON, max_new_tokens=1), **options, num_return_sequences=num_draws)
    counts = Counter(ids[0] if ids else END for ids in run(model, strategy, [2])[0])
    with torch.no_grad():
        logits = model(torch.tensor([PROMPTS[2]])).logits[0, -1] / 1.5
    best = logits.topk(5)
    for token, share in zip(best.indices.tolist(), best.values.softmax(dim=0).tolist(), strict=True):
        spread = (share * (1 - share) / num_draws) ** 0.5
        assert counts[token] / num_draws == pytest.approx(share, abs=4 * spread)
    assert counts.keys() <= {*best.indices.tolist()}


def test_a_seed_an_example_and_a_number_of_a_text_each_draw_anew() -> None:
    model = make("llama")
    first, second = run(model, STRATEGIES["sample"], [2])[0]
    assert first != second
    other = Sample(**PENALTIES, **dict(SAMPLING, seed=4))
    assert run(model, other, [2])[0] != [first, second]
    assert run(model, STRATEGIES["sample"], [2])[0] == [first, second]


def test_a_model_without_padding_generates_as_with_it_and_stays_without() -> None:
    strategy, model = STRATEGIES["greedy"], make("llama")
    expected = run(model, strategy, range(8))
    assert use_padding_free(model) == ""
    assert run(model, strategy, range(8)) == expected
    assert model.config._attn_implementation == NAME


def test_a_long_prompt_gets_what_its_model_has_positions_for_and_no_other_loses_by_it() -> None:
    model, strategy = make("gpt2"), Greedy(**dict(COMMON, max_new_tokens=30, min_new_tokens=30))
    texts = run(model, strategy, range(8))
    assert [len(ids) for [ids] in texts] == [30, 18, 30, 30, 30, 23, 30, 30]
    assert texts == [run(model, strategy, [row])[0] for row in range(8)]
    ids, tokenizer = torch.full((1, 48), 5), tokenizer_of(model)
    with pytest.raises(
        DataError, match="a prompt of 48 tokens, and GPT2LMHeadModel has positions for 48"
    ) as caught:
        generate(model, ids, torch.ones_like(ids), strategy=strategy, tokenizer=tokenizer, example_ids=[7])
    assert caught.value.row == 7


def test_settings_of_a_checkpoint_change_no_text_and_stay() -> None:
    model = make("bart")
    expected = run(model, STRATEGIES["greedy"], [0, 1])
    model.generation_config.update(num_beams=3, min_length=9, repetition_penalty=9.0, temperature=0.1)
    assert run(model, STRATEGIES["greedy"], [0, 1]) == expected
    assert model.generation_config.num_beams == 3


def test_a_stop_string_counts_in_the_new_text_alone() -> None:
    stops = Stops(["<7><8>"], tokenizer_of(make("llama")), start=3)
    rows = [[7, 8, 4, 5, 6], [4, 4, 4, 7, 8], [4, 4, 7, 8, 8], [7, 8, 4, 7, 7]]
    assert stops(torch.tensor(rows), None).tolist() == [False, True, False, False]


def test_a_text_that_stops_before_others_of_its_batch_has_no_more_tokens() -> None:
    model = make("t5")
    free = [ids for [ids] in run(model, Greedy(**COMMON), range(8))]
    last = next(ids[2] for ids in free if len(ids) > 3)
    stopped = run(model, Greedy(**dict(COMMON, stop_strings=[f"<{last}>"])), range(8))
    ends = [ids.index(last) + 1 if last in ids else len(ids) for ids in free]
    assert stopped == [[ids[:end]] for ids, end in zip(free, ends, strict=True)]
    assert len({*ends}) > 1


def test_an_empty_prompt_begins_with_the_first_token_of_the_model() -> None:
    model = make("llama")
    ids, mask = torch.tensor([[5, 6], [END, END]]), torch.tensor([[1, 1], [0, 0]])
    options: dict[str, Any] = {"strategy": STRATEGIES["greedy"], "tokenizer": tokenizer_of(model)}
    empty = generate(model, ids, mask, example_ids=[0, 1], **options)[1]
    assert empty == generate(model, torch.tensor([[2]]), torch.ones(1, 1), example_ids=[0], **options)[0]


def test_the_language_of_a_text_is_its_first_token() -> None:
    texts = run(make("bart"), STRATEGIES["greedy"], [0, 1], forced_bos=50)
    assert [ids[0] for [ids] in texts] == [50, 50]


@pytest.mark.parametrize("kind", ["greedy", "prompt lookup"])
@pytest.mark.parametrize("name", ["llama", "t5"])
def test_tokens_come_one_by_one_as_they_are_in_the_end(name: str, kind: str) -> None:
    parts: list[list[int]] = []
    [[ids]] = run(make(name), STRATEGIES[kind], [1], on_tokens=parts.append)
    assert [token for part in parts for token in part] == ids
    assert len(parts) > 1
