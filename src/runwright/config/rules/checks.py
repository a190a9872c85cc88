"""Rules that are more than a line of the table: about metrics, tokenizers and models, and about data sets.

Keys of rules about data sets are those of a node.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from runwright.config.options import MODULE_METRIC, SPLITS, TARGET, metric_nodes
from runwright.config.signature import Signature, read_signature
from runwright.config.tag_schemes import LETTERS, misfits, scheme_problem
from runwright.errors import Mistake, did_you_mean, listed, shown

Mistakes: TypeAlias = Iterator[Mistake]
# Of the shipped metrics; of their others more is.
LESS_IS_BETTER = {"mean_absolute_error", "mean_squared_error", "perplexity", "bits_per_byte", "ter"}
SPECIAL_TOKENS = 8  # more than any tokenizer puts around a question and a text
ROLES = ("pad", "unk", "cls", "sep", "mask", "bos", "eos")
FROM_TASK = ("num_labels", "id2label", "label2id", "problem_type")
EXAMPLES = {  # of metrics, by the problem of a task
    "single_label": "accuracy,f1_macro",
    "multi_label": "f1_micro",
    "regression": "pearson,mse",
    "similarity": "spearman",
    "retrieval": "mrr_10,recall_10",
    "tags": "span_f1",
    "answers": "exact_match,answer_f1",
    "texts": "bleu,chrf,rouge_l",
    "next_tokens": "perplexity,bits_per_byte",
    **dict.fromkeys(("hidden_tokens", "target_tokens"), "perplexity"),
}
WHOLE = ("byte_level", "metaspace")  # steps that change the text, and the decoders that change it back


def signature_of(node: Any) -> Signature | None:
    """The signature of the class or function that a node names."""
    module, _, definition = str(node.get(TARGET) if isinstance(node, dict) else "").rpartition(".")
    return read_signature(module, definition) if module else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def best_metric_is_computed(best: Any, metrics: Any, problem: Any, target: Any) -> Mistakes:
    if isinstance(best, str) and best not in ("loss", *metric_nodes(metrics)):
        problem = problem_of(problem, target)
        suited = [name for name, node in metric_nodes(metrics).items() if _suits(node, problem)]
        hint = did_you_mean(best, ["loss", *suited]) or f"add it: metric=[{','.join([*suited, best])}]"
        yield Mistake("trainer.best_metric", shown(best), f"one of {listed(['loss', *suited])}", hint)


def mode_of_target(target: str) -> Literal["min", "max"] | None:
    """The direction in which a metric is better; None for a function that is not of this package."""
    if not target.startswith("runwright.metric.") or target == MODULE_METRIC:
        return None
    return "min" if target.rpartition(".")[2] in LESS_IS_BETTER else "max"


def mode_of(best: Any, metrics: Any) -> Literal["min", "max"] | None:
    """The direction in which the best metric is better: the loss, or one with a function."""
    signature = signature_of(metric_nodes(metrics).get(str(best)))
    return mode_of_target(signature.target) if signature else "min"  # the loss, or a mistake of its own


def best_mode_is_the_metrics(best: Any, mode: Any, metrics: Any) -> Mistakes:
    signature = signature_of(metric_nodes(metrics).get(str(best)))
    returned = signature.returns.get(signature.target.rpartition(".")[2], "") if signature else ""
    if returned.rpartition(".")[2] == "Table":
        yield Mistake("trainer.best_metric", f"{shown(best)}, which is not a number", "a metric to compare")
    elif (signature or best == "loss") and (right := mode_of(best, metrics)) not in (mode, None):
        expected = f"{right!r}: {'less' if right == 'min' else 'more'} of it is better"
        yield Mistake("trainer.best_mode", f"{shown(mode)} with best_metric={best}", expected)


def metrics_suit_the_task(metrics: Any, problem: Any, target: Any) -> Mistakes:
    wanted = f"task.problem={problem}" if problem else str(target).rpartition(".")[2]
    hint = f"choose others: metric=[{EXAMPLES.get(str(problem_of(problem, target)), '…')}]"
    for name, node in as_dict(metrics).items():
        if not _suits(node, problem_of(problem, target)):
            judged = f"{node[TARGET].rpartition('.')[2]}, which judges {listed(as_list(node['suits']))}"
            yield Mistake(f"metric.{name}", judged, f"a metric for {wanted}", hint)


def problem_of(problem: Any, target: Any) -> str | None:
    """The kind of problem of a task: the option of that name, else the only one that its class has."""
    signature = signature_of({TARGET: target}) if target and not problem else None
    problem = signature.literals.get("problem") if signature else problem
    return problem if isinstance(problem, str) else None


def _suits(node: Any, problem: str | None) -> bool:
    """Return True if a metric judges this kind of problem, or does not say which it judges."""
    problems = as_list(as_dict(node).get("suits"))
    return problem is None or not problems or problem in problems


def tags_are_of_the_scheme(names: Any, scheme: Any) -> Mistakes:
    tags = [str(name) for name in as_list(names)]
    if wrong := misfits(tags, scheme) if scheme in list(LETTERS) else []:
        problem = scheme_problem(wrong[0], tags, scheme)
        yield Mistake("task.tag_names", listed(wrong), f"tags of task.scheme={scheme}", problem)


def window_has_room_for_new_text(length: Any, question: Any, overlap: Any) -> Mistakes:
    if not all(map(is_number, (length, question, overlap))):
        return
    least = question + overlap + SPECIAL_TOKENS
    if length <= least:
        expected = f"more than {least}: max_question_length, overlap and {SPECIAL_TOKENS} special tokens"
        yield Mistake("task.max_length", shown(length), expected)


def generates_texts(node: Any) -> bool | None:
    """Return True for a task whose predictions are texts; None where its target cannot be read."""
    signature = signature_of(node)
    return None if signature is None else bool(signature.literals.get("generates"))


def task_generates_texts(strategy: Any, target: Any) -> Mistakes:
    if strategy is not None and generates_texts({TARGET: target}) is False:
        name, task = (str(path).rpartition(".")[2] for path in (as_dict(strategy).get(TARGET), target))
        hint = "leave generation=… (--generation) out, or write ~generation"
        yield Mistake("generation", name, f"no strategy: {task} generates no texts", hint)


def texts_are_generated(metrics: Any, strategy: Any, target: Any) -> Mistakes:
    if strategy is None and generates_texts({TARGET: target}):
        problem, hint = "a metric of texts with generation null", "choose generation=greedy, beam or sample"
        for name, node in as_dict(metrics).items():
            if str(as_dict(node).get(TARGET)).startswith(("runwright.metric.texts.", MODULE_METRIC)):
                yield Mistake(f"metric.{name}", problem, "texts to judge", hint)


def is_trained(tokenizer: Any) -> bool:
    return str(tokenizer).startswith("runwright.tokenizer.trained.")


def special_tokens_have_roles(tokens: Any) -> Mistakes:
    for role in [role for role in as_dict(tokens) if role not in ROLES]:
        hint = did_you_mean(str(role).removesuffix("_token"), ROLES)
        yield Mistake(f"tokenizer.special_tokens.{role}", "an unknown key", f"one of {listed(ROLES)}", hint)


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
        expected = "Bpe, WordPiece, Unigram or Words of runwright.tokenizer.algorithms, or one like them"
        yield Mistake("tokenizer.model._target_", shown(target), expected)


def decoder_undoes_the_steps(steps: Any, decoder: Any) -> Mistakes:
    for name in WHOLE:
        if (name in as_list(steps)) != (decoder == name):
            where = f"{'with' if name in as_list(steps) else 'without'} {name} in tokenizer.pre_tokenizer"
            expected = f"{name} in both or in neither: one undoes the other"
            yield Mistake("tokenizer.decoder", f"{shown(decoder)} {where}", expected)
            return


def templates_hold_the_texts(templates: Any) -> Mistakes:
    texts = {"single": ("$A",), "pair": ("$A", "$B")}
    for name, template in as_dict(templates).items():
        key = f"tokenizer.post_processor.{name}"
        if name not in texts:
            yield Mistake(key, "an unknown key", "single or pair")
        elif template is not None and not all(text in str(template) for text in texts[name]):
            yield Mistake(key, shown(template), f"a place for {' and '.join(texts[name])}")


def config_follows_from_others(config: Any) -> Mistakes:
    for name, value in as_dict(config).items():
        if name in (*FROM_TASK, "vocab_size") or name.endswith("_token_id"):
            source = "the task" if name in FROM_TASK else "the tokenizer"
            expected = f"no such key: this follows from {source}; leave it out"
            yield Mistake(f"model.config.{name}", shown(value), expected)


def heads_divide_the_width(config: Any, architecture: Any) -> Mistakes:
    sizes = {} if "t5" in str(architecture) else as_dict(config)  # whose heads have a size of their own
    for heads, width in {"num_attention_heads": "hidden_size", "n_head": "n_embd"}.items():
        number, size = sizes.get(heads, 0), sizes.get(width, 0)
        if "head_dim" not in sizes and is_number(number) and is_number(size) and number > 0 and size % number:
            yield Mistake(f"model.config.{heads}", shown(number), f"a divisor of {width}={size}")


# --- data sets --------------------------------------------------------------------------------------------

STREAM = "dataset.streaming=true"


def holdout_leaves_something(holdout: Any) -> Mistakes:
    numbers = {split: share for split, share in as_dict(holdout).items() if is_number(share)}
    for split, share in numbers.items():
        if share < 0 or (share > 1 and share != int(share)) or (share == 1 and isinstance(share, float)):
            expected = "a share from 0 to below 1, or a whole number of rows"
            yield Mistake(f"holdout.{split}", shown(share), expected)
    total = sum(share for share in numbers.values() if 0 < share < 1)
    if total >= 1:
        yield Mistake("holdout", f"shares that sum to {total:g}", "less than 1: something to train on")


def pattern_can_be_read(pattern: Any, replacement: Any) -> Mistakes:
    if not isinstance(pattern, str) or not isinstance(replacement, str | None):
        return
    try:
        re.sub(pattern, replacement or "", "")
    except (re.error, IndexError) as error:
        yield Mistake("pattern", shown(pattern), f"a regular expression ({error})")


def splits_have_plain_names(files: Any, splits: Any, holdout: Any, subset: Any) -> Mistakes:
    """Files are named after splits."""
    options = {"files": files, "splits": splits, "holdout": holdout, "subset": subset}
    named = [(option, as_dict(each), split) for option, each in options.items() for split in as_dict(each)]
    for option, by_split, split in named:
        if not re.fullmatch(r"\w[\w-]{0,60}", str(split)):
            yield Mistake(option, shown(split), "the name of a split: letters, digits, _ and -")
        if split in SPLITS and by_split[split] is not None:
            hint = "the best step is chosen on validation" if SPLITS[split] == "validation" else ""
            yield Mistake(f"{option}.{split}", "a split of this name", f"the name {SPLITS[split]!r}", hint)
        names = as_list(by_split[split]) or [by_split[split]]
        if option == "files" and not all(str(name).strip() for name in names):
            yield Mistake(f"{option}.{split}", "an empty text", "a file, a pattern or a folder")


def nothing_is_held_out_of_a_stream(streaming: Any, holdout: Any, files: Any) -> Mistakes:
    for split, share in as_dict(holdout).items():
        if streaming is True and share and as_dict(files).get(split) is None:
            problem, hint = f"{shown(share)} with {STREAM}", f"dataset.source.files.{split}=…"
            expected = "0, or a split of its own: a stream is not read before it is trained on"
            yield Mistake(f"dataset.holdout.{split}", problem, expected, hint)


def stream_is_cleaned_row_by_row(streaming: Any, cleaning: Any) -> Mistakes:
    for number, step in enumerate(as_list(cleaning) if streaming is True else ()):
        signature = signature_of(step)
        if signature is not None and signature.literals.get("row_wise") is not True:
            problem = f"{str(step[TARGET]).rpartition('.')[2]} with {STREAM}"
            expected = "steps that look at one row at a time: classes with row_wise = True"
            yield Mistake(f"dataset.cleaning.{number}", problem, expected)
