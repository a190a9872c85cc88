"""Rules about decoding strategies and the tasks whose texts they decode."""

from __future__ import annotations

from typing import Any

from runwright.config.options import TARGET
from runwright.config.rules.makers import Mistakes, as_dict, as_list, at_most, forbids, rule, signature_of
from runwright.errors import Mistake

TEXT_METRICS = "runwright.metric.texts."


def task_generates_texts(strategy: Any, target: Any) -> Mistakes:
    signature = signature_of({TARGET: target})
    if strategy is not None and signature is not None and not signature.literals.get("generates"):
        name = str(as_dict(strategy).get(TARGET)).rpartition(".")[2]
        expected = f"no strategy: {signature.target.rpartition('.')[2]} generates no texts"
        yield Mistake("generation", name, expected, "leave it out, or write ~generation")


def texts_are_generated(metrics: Any, strategy: Any, target: Any) -> Mistakes:
    signature = signature_of({TARGET: target})
    if strategy is None and signature is not None and signature.literals.get("generates"):
        for name, node in as_dict(metrics).items():
            if str(as_dict(node).get(TARGET)).startswith(TEXT_METRICS):
                problem, hint = (
                    "a metric of texts with generation null",
                    "choose generation=greedy, beam or sample",
                )
                yield Mistake(f"metric.{name}", problem, "texts to judge", hint)


GENERATION = (
    rule(task_generates_texts, "generation", "task._target_"),
    rule(texts_are_generated, "metric", "generation?", "task._target_"),
    forbids("generation.stop_strings", lambda stops: "" in as_list(stops), {}, "texts that are not empty"),
    at_most("generation.min_new_tokens", "generation.max_new_tokens"),
    at_most("generation.num_return_sequences", "generation.num_beams"),
    forbids("generation.num_beams", 1, {}, "2 or more", "one beam is generation=greedy"),
    at_most("generation.max_new_tokens", "model.config.max_position_embeddings", less=True),
    at_most("generation.max_new_tokens", "model.config.n_positions", less=True),
)
