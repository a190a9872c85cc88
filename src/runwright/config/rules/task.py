"""Rules about metrics, classes, tags, answers, texts, tokenizers and sizes that are no line of the table."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from runwright.config.options import MODULE_METRIC, TARGET, metric_nodes
from runwright.config.rules.makers import Mistakes, as_dict, as_list, is_number, signature_of
from runwright.config.sources import module_source, saved_roles
from runwright.config.tag_schemes import LETTERS, misfits, scheme_problem
from runwright.errors import Mistake, did_you_mean, listed, shown

# Of the shipped metrics.
LESS_IS_BETTER = {"mean_absolute_error", "mean_squared_error", "perplexity", "bits_per_byte", "ter"}
LESS_IS_BETTER |= {"next_sentence_loss"}
SPECIAL_TOKENS = 8  # more than any tokenizer puts around a question and a text
FOCAL = "runwright.task.losses.Focal"
ANSWER_METRICS = "runwright.metric.answers."
TRAINED = "runwright.tokenizer.trained."
NUM_BYTES = 256
ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
FAMILIES_WITHOUT = {  # of trained tokenizers, by role
    "mask": ("t5", "gpt2", "llama", "plain"),
    "sep": ("t5", "gpt2", "llama", "plain"),
    "eos": ("bert", "plain"),
}
SIZES = ("hidden_size", "embedding_size", "intermediate_size", "num_attention_heads", "dim", "hidden_dim")
SIZES += ("n_heads", "n_embd", "n_head", "n_positions", "max_position_embeddings")
# Architectures whose heads share the hidden size, with the positions that padding takes from the text.
PADDED = dict.fromkeys(("roberta", "xlm-roberta", "camembert", "mpnet"), 2)
OTHERS = ("bert", "electra", "albert", "distilbert", "gpt2", "ernie", "llama", "qwen2", "mistral")
SHARED: dict[str, int] = {**PADDED, **dict.fromkeys(OTHERS, 0)}
FROM_TASK = ("num_labels", "id2label", "label2id", "problem_type")
EXAMPLES = {  # of metrics, by the problem of tasks that no default metric suits
    "texts": "bleu,chrf,rouge_l",
    "next_tokens": "perplexity,bits_per_byte",
    "hidden_tokens": "perplexity",
    "target_tokens": "perplexity",
}
WHOLE = ("byte_level", "metaspace")  # steps that change the text, and the decoders that change it back


def best_metric_is_computed(best: Any, metrics: Any, problem: Any, target: Any) -> Mistakes:
    if isinstance(best, str) and best not in ("loss", *metric_nodes(metrics)):
        problem = problem_of(problem, target)
        suited = [name for name, node in metric_nodes(metrics).items() if _suits(node, problem)]
        hint = did_you_mean(best, ["loss", *suited]) or f"add it: metric=[{','.join([*suited, best])}]"
        yield Mistake("trainer.best_metric", shown(best), f"one of {listed(['loss', *suited])}", hint)


def best_mode_is_the_metrics(best: Any, mode: Any, metrics: Any) -> Mistakes:
    signature = signature_of(metric_nodes(metrics).get(str(best)))
    if signature is None:
        return
    returned = signature.returns.get(signature.target.rpartition(".")[2], "")
    if returned.rpartition(".")[2] == "Table":
        yield Mistake("trainer.best_metric", f"{shown(best)}, which is not a number", "a metric to compare")
    elif signature.target.startswith("runwright.metric.") and signature.target != MODULE_METRIC:
        less = signature.target.rpartition(".")[2] in LESS_IS_BETTER
        if mode != ("min" if less else "max"):
            expected = "'min': less of it is better" if less else "'max': more of it is better"
            yield Mistake("trainer.best_mode", f"{shown(mode)} with best_metric={best}", expected)


def metrics_suit_the_task(metrics: Any, problem: Any, target: Any, best: Any) -> Mistakes:
    wanted = f"task.problem={problem}" if problem else str(target).rpartition(".")[2]
    # Which one to add instead is said where it is missing.
    is_computed = best in (None, "loss", *metric_nodes(metrics))
    for name, node in as_dict(metrics).items():
        if not _suits(node, problem_of(problem, target)):
            judged = f"{node[TARGET].rpartition('.')[2]}, which judges {listed(as_list(node['suits']))}"
            hint = (
                f"choose others: metric=[{EXAMPLES.get(str(problem_of(None, target)), '…')}]"
                if is_computed
                else "leave it out"
            )
            yield Mistake(f"metric.{name}", judged, f"a metric for {wanted}", hint)


def modules_can_be_loaded(metrics: Any, problem: Any, target: Any) -> Mistakes:
    """The modules of the package evaluate are there, may run, and are fed what the task predicts."""
    for name, node in as_dict(metrics).items():
        if as_dict(node).get(TARGET) != MODULE_METRIC:
            continue
        paths = as_list(node.get("path")) or [node.get("path")]
        revisions = as_list(node.get("revision")) or [node.get("revision")] * len(paths)
        for path, revision in zip_longest(paths, revisions[: len(paths)]):
            source = module_source(str(path), revision=revision, key=f"metric.{name}")
            if isinstance(source, Mistake):
                yield source
        kind = problem_of(problem, target)
        if node.get("feed") == "scores" and kind not in (None, "single_label", "multi_label"):
            yield Mistake(f"metric.{name}.feed", "'scores'", f"'predicted': {kind} has no scores of classes")


def problem_of(problem: Any, target: Any) -> str | None:
    """The kind of problem of a task: the option of that name, else the only one that its class has."""
    signature = signature_of({TARGET: target}) if target and not problem else None
    problem = signature.literals.get("problem") if signature else problem
    return problem if isinstance(problem, str) else None


def _suits(node: Any, problem: str | None) -> bool:
    """Return True if a metric judges this kind of problem, or does not say which it judges."""
    problems = as_list(as_dict(node).get("suits"))
    return problem is None or not problems or problem in problems


def focal_suits_the_problem(loss: Any, problem: Any) -> Mistakes:
    alpha = as_dict(loss).get("alpha")
    if as_dict(loss).get(TARGET) != FOCAL:
        return
    if problem in ("regression", "similarity", "retrieval"):
        yield Mistake("task.loss", f"Focal with task.problem={problem}", "null: there are no classes")
    elif is_number(alpha) and problem != "multi_label":
        hint = "task.class_weights=balanced weighs them by how often they occur"
        expected = "null, or a weight for each class name: a number is for multi_label"
        yield Mistake("task.loss.alpha", shown(alpha), expected, hint)
    elif problem == "multi_label":
        for name, weight in as_dict(alpha).items():
            if is_number(weight) and weight > 1:
                expected = "at most 1: where a label is not there, the weight is 1 - alpha"
                yield Mistake(f"task.loss.alpha.{name}", shown(weight), expected)


def tags_are_of_the_scheme(names: Any, scheme: Any) -> Mistakes:
    tags = [str(name) for name in as_list(names)]
    wrong = misfits(tags, scheme) if scheme in list(LETTERS) else []
    if wrong:
        problem = scheme_problem(wrong[0], tags, scheme)
        yield Mistake("task.tag_names", listed(wrong), f"tags of task.scheme={scheme}", problem)


def window_has_room_for_new_text(length: Any, question: Any, overlap: Any) -> Mistakes:
    if not all(map(is_number, (length, question, overlap))):
        return
    least = question + overlap + SPECIAL_TOKENS
    if length <= least:
        expected = f"more than {least}: max_question_length, overlap and {SPECIAL_TOKENS} special tokens"
        yield Mistake("task.max_length", shown(length), expected)


def unanswerable_needs_a_threshold(metrics: Any, threshold: Any) -> Mistakes:
    for name, node in as_dict(metrics).items() if threshold is None else ():
        if str(node.get(TARGET)).startswith(ANSWER_METRICS) and node.get("of") == "unanswerable":
            yield Mistake(
                f"metric.{name}",
                "a metric of questions without an answer, with task.no_answer_threshold null",
                "questions that all have one",
                "set task.no_answer_threshold to a number or tune",
            )


def threshold_is_tuned(threshold: Any, holdout: Any, files: Any) -> Mistakes:
    # Without a file of train nothing is trained: an evaluation on other data.
    train, validation = as_dict(files).get("train"), as_dict(files).get("validation")
    if threshold == "tune" and train and not as_dict(holdout).get("validation") and not validation:
        problem, hint = "'tune' without a validation split", "or set dataset.holdout.validation"
        yield Mistake("task.no_answer_threshold", problem, "null or a number", hint)


def generates_texts(node: Any) -> bool | None:
    """Return True for a task whose predictions are texts; None where its target cannot be read."""
    signature = signature_of(node)
    return None if signature is None else bool(signature.literals.get("generates"))


def task_generates_texts(strategy: Any, target: Any) -> Mistakes:
    if strategy is not None and generates_texts({TARGET: target}) is False:
        name = str(as_dict(strategy).get(TARGET)).rpartition(".")[2]
        expected = f"no strategy: {str(target).rpartition('.')[2]} generates no texts"
        yield Mistake("generation", name, expected, "leave it out, or write ~generation")


def texts_are_generated(metrics: Any, strategy: Any, target: Any) -> Mistakes:
    if strategy is None and generates_texts({TARGET: target}):
        problem, hint = "a metric of texts with generation null", "choose generation=greedy, beam or sample"
        for name, node in as_dict(metrics).items():
            if str(as_dict(node).get(TARGET)).startswith(("runwright.metric.texts.", MODULE_METRIC)):
                yield Mistake(f"metric.{name}", problem, "texts to judge", hint)


def pretrained_model_has_its_own(tokenizer: Any, model: Any, embeddings: Any) -> Mistakes:
    is_trained = str(tokenizer).startswith(TRAINED)
    if is_trained and model == "runwright.model.pretrained.load" and embeddings != "by_token":
        yield Mistake(
            "tokenizer",
            "one that is trained, with a pretrained model",
            "the tokenizer that the model was trained with: tokenizer=pretrained",
            "for any other: model.embeddings=by_token, or model=scratch, which learns from nothing",
        )


def special_tokens_have_roles(tokens: Any) -> Mistakes:
    for role in [role for role in as_dict(tokens) if role not in ROLES]:
        hint = did_you_mean(str(role).removesuffix("_token"), ROLES)
        yield Mistake(f"tokenizer.special_tokens.{role}", "an unknown key", f"one of {listed(ROLES)}", hint)


def tokenizer_has_the_tokens(name: Any, tokens: Any, family: Any, target: Any) -> Mistakes:
    """Tokens that every task or this one needs, as far as the files of a tokenizer or its family tell."""
    signature = signature_of({TARGET: target})
    needed: tuple[str, ...] = (signature.literals.get("needs_token") or ()) if signature else ()
    saved = saved_roles(name) if isinstance(name, str) else None
    for roles in (("pad", "eos"), needed):
        if saved is not None and roles and not {*roles} & {*saved, *as_dict(tokens)}:
            lacking = f"{shown(tokens)}, and {name!r} was saved without a {' or '.join(roles)} token"
            expected = f'one of its tokens, as {{{roles[0]}: "TOKEN"}}'
            yield Mistake("tokenizer.special_tokens", lacking, expected, "its tokenizer.json lists them")
    if needed and all(family in FAMILIES_WITHOUT.get(role, ()) for role in needed):
        lacking = f"{shown(family)}, which has no {' or '.join(needed)} token"
        expected = f"another family: {str(target).rpartition('.')[2]} needs one"
        yield Mistake("tokenizer.family", lacking, expected)


def delimiters_are_characters(steps: Any) -> Mistakes:
    for number, step in enumerate(as_list(steps)):
        is_name = not isinstance(step, dict)
        if not is_name and (set(step) != {"char_delimiter"} or len(str(step["char_delimiter"])) != 1):
            expected = 'a name, or {char_delimiter: "_"} with one character'
            yield Mistake(f"tokenizer.pre_tokenizer.{number}", shown(step), expected)


def decoder_writes_its_own(encoder: Any, decoder: Any, tokenizer: Any, shared: Any) -> Mistakes:
    if decoder == encoder:
        return
    if shared is True:
        yield Mistake("model.shared", "true, with another decoder", "false, or no model.decoder")
    if tokenizer != decoder:
        expected = f"{decoder}: the tokenizer of model.decoder"
        yield Mistake("task.target_tokenizer", shown(tokenizer), expected, "write ${model.decoder}")


def algorithm_can_be_trained(target: Any) -> Mistakes:
    signature = signature_of({TARGET: target})
    if signature is not None and "train" not in signature.returns:
        expected = (
            "what learns a vocabulary: Bpe, WordPiece, Unigram or Words of runwright.tokenizer.algorithms"
        )
        yield Mistake("tokenizer.model._target_", shown(target), expected)


def decoder_undoes_the_steps(steps: Any, decoder: Any) -> Mistakes:
    for name in [name for name in WHOLE if (name in as_list(steps)) != (decoder == name)][:1]:
        where = f"with{'' if name in as_list(steps) else 'out'} {name} in tokenizer.pre_tokenizer"
        yield Mistake(
            "tokenizer.decoder",
            f"{shown(decoder)} {where}",
            f"{name} in both or in neither: one undoes the other",
        )


def bytes_come_last(steps: Any) -> Mistakes:
    if "byte_level" in as_list(steps)[:-1] and steps[-1] != "byte_level":
        expected = "byte_level as the last step: after it there are no letters to cut at"
        yield Mistake("tokenizer.pre_tokenizer", shown(steps), expected)


def vocabulary_holds_bytes(steps: Any, size: Any) -> Mistakes:
    if "byte_level" in as_list(steps) and is_number(size) and size <= NUM_BYTES:
        expected = f"more than {NUM_BYTES}: every byte is a token"
        yield Mistake("tokenizer.model.vocab_size", shown(size), expected)


def templates_hold_the_texts(templates: Any) -> Mistakes:
    texts = {"single": ("$A",), "pair": ("$A", "$B")}
    for name, template in as_dict(templates).items():
        key = f"tokenizer.post_processor.{name}"
        if name not in texts:
            yield Mistake(key, "an unknown key", "single or pair")
        elif template is not None and not all(text in str(template) for text in texts[name]):
            yield Mistake(key, shown(template), f"a place for {' and '.join(texts[name])}")


def sizes_fit(architecture: Any, config: Any, length: Any) -> Mistakes:
    """Sizes in `model.config` of a model from scratch, in the names of transformers."""
    config = as_dict(config)
    for name, value in config.items():
        key = f"model.config.{name}"
        if name in (*FROM_TASK, "vocab_size") or name.endswith("_token_id"):
            source = "the task" if name in FROM_TASK else "the tokenizer"
            yield Mistake(key, shown(value), f"no such key: this follows from {source}; leave it out")
        elif name == "max_position_embeddings" and value is None:
            continue  # as many as the task needs
        elif name in SIZES and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            yield Mistake(key, shown(value), "a whole number >= 1")
        elif ("dropout" in name or "pdrop" in name) and is_number(value) and not 0 <= value <= 1:
            yield Mistake(key, shown(value), "a probability from 0 to 1")
    if not isinstance(architecture, str) or architecture not in SHARED:
        return
    for name, of in (("hidden_size", "num_attention_heads"), ("dim", "n_heads"), ("n_embd", "n_head")):
        size, heads = config.get(name), config.get(of)
        if isinstance(size, int) and isinstance(heads, int) and heads > 0 < size and size % heads:
            near = max(number for number in range(1, heads) if size % number == 0)
            yield Mistake(
                f"model.config.{of}", shown(heads), f"one that divides {name}={size}, such as {near}"
            )
    positions = config.get("n_positions", config.get("max_position_embeddings"))
    if is_number(positions) and is_number(length) and length > (limit := positions - SHARED[architecture]):
        expected = f"at most {limit}: {architecture} has model.config.max_position_embeddings={positions}"
        yield Mistake("task.max_length", shown(length), expected)
