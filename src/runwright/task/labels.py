"""From label values in the data to class ids, floats or sets of ids, with mistakes named by row."""

import ast
import json
import math
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from runwright.dataset.cleaning.passes import lines_of_file
from runwright.errors import ConfigError, DataError, did_you_mean, listed

# A quoted text is kept whole; numpy puts no comma between two of them, and a name around each list or value.
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?P<gap>\s+(?=['"]))?"""
    r"""|(?P<call>\b(?:array|np\.\w+)\()|(?P<type>,\s*dtype=[^)]*)|(?P<null>\b(?:null|nan)\b)"""
    r"""|(?P<space>(?<=[\d.])\s+(?=-?\d))|(?P<cut>\.\.\.)""",
    re.DOTALL,
)
_AS_PYTHON = {"call": "(", "type": "", "null": "None", "space": ", ", "cut": "?"}  # "?" cannot be read
WRITTEN = "a list written as text is read as a list"


def looks_written(value: Any) -> bool:
    """Return True for a text in brackets or braces."""
    return isinstance(value, str) and value.strip()[:1] + value.strip()[-1:] in ("[]", "{}")


def read_written(value: Any) -> Any:
    """The list or mapping that a text is; other values, and texts that are not for certain one, as they are.

    Not certain are words without quotes, and a list that numpy has cut.
    """
    if not looks_written(value):
        return value
    text = value.strip()
    with suppress(ValueError, RecursionError):
        return json.loads(text)

    def as_python(token: re.Match[str]) -> str:
        if token["text"]:
            return token["text"] + ("," if token["gap"] else "")
        return _AS_PYTHON[token.lastgroup or ""]

    # Python warns of a backslash in a text
    with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        with warnings.catch_warnings(action="ignore"):
            read = ast.literal_eval(_TOKEN.sub(as_python, text))
        return read if isinstance(read, list | dict) else value
    return value


MAX_NUMBER = 1e18  # its squared error is finite in float32
MAX_CLASSES_FROM_DATA = 2000  # more distinct values than this are an id or a text, not a class
SEPARATORS = ";|,\t/ "  # that may stand between the classes of a row
FLAGS = {"0": False, "False": False, "false": False, "1": True, "True": True, "true": True}
_VECTOR = re.compile(r"[01](?:[ ,;|/\t]?[01])+")  # 0 or 1 for each class in a text
MAX_WRONG = 5  # distinct wrong labels that an error names
UNSEEN = 0.5  # added to each count, so that a class without a row has a finite logarithm


def is_missing(value: Any) -> bool:
    """Return True if there is no label: None, NaN or an empty string."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_number(value: Any) -> float:
    """The value as a float; NaN where it is no finite number."""
    with suppress(TypeError, ValueError):
        if not is_missing(value) and math.isfinite(number := float(value)):
            return number
    return math.nan


def label_name(value: Any) -> str:
    """The class name that a value stands for: 1.0 is 1, é is one letter however it is composed."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of integers with gaps is read as float
    return unicodedata.normalize("NFC", str(value).strip())


def names_in(feature: Any) -> tuple[str, ...]:
    """The class names that a column carries, alone or in lists."""
    return tuple(getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", ()))


def names_from_options(names: list[str] | None, file: str | None) -> tuple[str, ...]:
    """The class names of the options; empty where the data has to tell.

    A file has one name a line, in the order of their ids; blank lines at its end are ignored.
    """
    if names is not None:
        return check_label_names(names, where="task.label_names")
    if file is None:
        return ()
    lines = "\n".join(lines_of_file(file, "the file of class names")).rstrip().splitlines()
    return check_label_names([line.strip() for line in lines], where=f"task.label_file={file!r}")


def check_label_names(names: Sequence[str], *, where: str) -> tuple[str, ...]:
    """The names as they are; raises ConfigError where one is empty, doubled or alone."""
    doubled = sorted(name for name, count in Counter(map(label_name, names)).items() if count > 1)
    if doubled or not all(names):
        raise ConfigError(f"{where}: names must be distinct and not empty; doubled: {doubled}")
    if len(names) < 2:
        raise ConfigError(f"{where}: a classification needs two classes or more, given {list(names)}")
    return tuple(map(label_name, names))


def positive_class(name: str | None, names: Sequence[str]) -> int:
    """The class that metrics of one class are of: the named one of two (else ConfigError), or class 1."""
    if name is not None and (len(names) != 2 or label_name(name) not in names):
        expected = f"expected one of two classes; there are {listed(names) or 'none'}"
        raise ConfigError(f"task.positive_label: given {name!r}, {expected}")
    return 1 if name is None else list(names).index(label_name(name))


def names_from_values(values: Iterable[Any], *, split: str, column: str) -> tuple[str, ...]:
    """The distinct values as names, numbers in numeric order, others in the order of their characters.

    Raises DataError where there is only one class, or so many that the column holds no classes.
    """
    values = [value for value in values if not is_missing(value)]
    distinct = {label_name(value) for value in values}
    if len(distinct) < 2:
        problem = f"only one class, {distinct.pop()!r}" if distinct else "no label at all"
        raise DataError(f"{problem}: nothing can be learned from it", split=split, column=column)
    if len(distinct) > MAX_CLASSES_FROM_DATA:
        limit = f"at most {MAX_CLASSES_FROM_DATA} classes are taken from the data"
        problem = f"{len(distinct)} distinct values; {limit}. Is this the label column? For numbers use "
        problem += "task.problem=regression; for more classes give task.label_file"
        raise DataError(problem, split=split, column=column)
    for name in sorted({value for value in values if isinstance(value, str)}):
        if name.startswith("[") != name.endswith("]") or list_in(name) is not None:
            problem = f"{name!r} reads as a list, or a piece of one: several classes need task.problem="
            raise DataError(f'{problem}multi_label, and quotes: ["a", "b"]', split=split, column=column)
    if not any(math.isnan(as_number(name)) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (float(name), name)))
    return tuple(sorted(distinct))


def doubtful_names(names: Sequence[str]) -> list[str]:
    """Class names that may be meant otherwise, one sentence for each kind."""
    hidden = "-1 is a class; where it means that there is no label, DropValues drops such rows"
    notes = [hidden] if "-1" in names else []
    looks: dict[str, list[str]] = {}
    for name in names:
        look = "".join(filter(str.isprintable, unicodedata.normalize("NFKC", name).casefold()))
        number = as_number(name)
        looks.setdefault("".join(look.split()) if math.isnan(number) else f"{number}", []).append(name)
    if alike := [", ".join(map(repr, group)) for group in looks.values() if len(group) > 1]:
        notes.append(f"classes that look the same: {listed(alike)}; MapValues makes them one")
    return notes + [note for mark in SEPARATORS if (note := _joined_names(names, mark))]


def _joined_names(names: Sequence[str], mark: str) -> str:
    """A sentence on names that seem to be several with a mark between them; empty where there are none."""
    parts = {name: {*map(str.strip, name.split(mark))} for name in names if mark in name}
    # A name may well have a space, a slash or a comma, and a part that is a class too.
    if not (joined := [name for name, of_name in parts.items() if mark in ";|\t" or of_name <= {*names}]):
        return ""
    what = f"{len(joined)} of {len(names)} class names hold {mark!r}, such as {joined[0]!r}"
    return f"{what}; for several classes a row: task.problem=multi_label 'task.label_separator=\"{mark}\"'"


class LabelEncoder:
    """Turns a label value, a name, into its class id; `ordered` names that are no numbers take ids too."""

    def __init__(self, names: Sequence[str], *, ordered: bool = True) -> None:
        self.names = tuple(names)
        takes_ids = ordered and all(math.isnan(as_number(name)) for name in names)
        self._ids = {str(index): index for index in range(len(names)) if takes_ids}
        self._ids |= {label_name(name): index for index, name in enumerate(names)}

    def named(self, value: Any) -> str:
        """The class name of a value; the value as text where it is no class."""
        with suppress(DataError):
            return self.names[self.encode(value)]
        return label_name(value)

    def encode(self, value: Any) -> int:
        """The class id; raises DataError for a value that is no class."""
        name = label_name(value)
        if is_missing(value):
            problem = "the label is empty; fill it in, or drop such rows (dataset.cleaning: DropEmpty)"
        elif not isinstance(value, Hashable) or isinstance(value, bytes | tuple):
            problem = f"expected one class, given {value!r:.60}; a row with several of them needs "
            problem += "task.problem=multi_label and a list"
        elif name in self._ids:
            return self._ids[name]
        else:
            hidden = "where -1 means that there is no label, DropValues drops such rows"
            notes = (_joined_names(self.names, mark) for mark in SEPARATORS if mark in name)
            hint = hidden if name == "-1" else next(filter(None, notes), did_you_mean(name, self.names))
            classes = f"the {len(self.names)} classes are {listed(map(repr, self.names))}"
            problem = f"unknown label {value!r}; {classes}; {hint}"
        raise DataError(problem.rstrip("; "))


def read_all(
    values: Sequence[Any], read: Callable[[Any], Any], numbers: np.ndarray, **where: Any
) -> list[Any]:
    """What `read` makes of each row's value, of which `numbers` [N] int has the position in `values`.

    The DataError of the first wrong one names its row, and other wrong ones with their counts.
    """
    targets, wrong = [], dict[int, str]()
    for number, value in enumerate(values):
        try:
            targets.append(read(value))
        except DataError as error:
            targets.append(None)
            wrong[number] = error.problem
    if wrong:
        sizes, counts = np.bincount(numbers).tolist(), Counter[str]()
        for number in wrong:
            counts[f"{values[number]!r:.40}"] += sizes[number]
        row = int(np.argmax(np.isin(numbers, [*wrong])))
        first = [f"{text} ({count})" for text, count in [*counts.items()][:MAX_WRONG]]
        others = f"; wrong labels, with counts: {', '.join(first)}" if counts.total() > 1 else ""
        raise DataError(wrong[int(numbers[row])] + others, row=row, **where)
    return [targets[number] for number in numbers.tolist()]


def list_in(text: str) -> list[Any] | None:
    """The list, tuple or set that a text is to JSON, Python or numpy, as in CSV cells; None for another."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "()", "{}"):
        return None
    items = read_written(f"[{text[1:-1]}]")
    is_flat = isinstance(items, list) and not any(isinstance(item, list | dict) for item in items)
    return items if is_flat else None


def vector_width(rows: Sequence[Sequence[Any]]) -> int:
    """C where every row is a number for each of C classes, 1 or 0; 0 where rows list their labels."""
    sizes = {len(row) for row in rows}
    width = sizes.pop() if len(sizes) == 1 else 0
    return width if width > 1 and all(label_name(item) in FLAGS for row in rows for item in row) else 0


def vector_text(values: Iterable[Any]) -> str | None:
    """The first of values that are as long and all written like 1 0 1 or 101, if they are."""
    texts = [label_name(value) for value in values if not is_missing(value)]
    # 10 and 11 alone are more likely two classes
    is_vector = len({*map(len, texts)}) == 1 and (len(texts[0]) > 2 or any(text[0] == "0" for text in texts))
    return texts[0] if is_vector and all(map(_VECTOR.fullmatch, texts)) else None


def split_labels(value: Any, separator: str) -> list[Any]:
    """The labels of one multi-label value: a list, also as text, a string with separators, one or none."""
    if is_missing(value):
        return []
    if isinstance(value, str):
        items = list_in(value)
        return items if items is not None else list(filter(None, map(str.strip, value.split(separator))))
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        return list(value)
    return [value]


def read_vector(numbers: Sequence[Any], size: int) -> list[int]:
    """Ids of the classes whose number is 1; raises DataError for another row."""
    flags = [FLAGS.get(label_name(number)) for number in numbers]
    if len(flags) != size or None in flags:
        raise DataError(f"given {list(numbers)!r:.60}, expected {size} numbers, 0 or 1, one for each class")
    return [index for index, flag in enumerate(flags) if flag]


def read_number(value: Any) -> float:
    """The value as a finite float; raises DataError otherwise."""
    number = as_number(value)
    if math.isnan(number):
        problem = f"expected a finite number, given {value!r}"
        if isinstance(value, str) and not math.isnan(as_number(value.replace(",", ".", 1))):
            problem += "; ReplacePattern makes a point of a decimal comma, or nothing of one at thousands"
        raise DataError(problem)
    if abs(number) > MAX_NUMBER:
        limit = f"at most {MAX_NUMBER:g}: the square of more is beyond float32"
        raise DataError(f"given {value!r}, expected {limit}; scale it")
    return number


def each_label(labels: Iterable[Any]) -> Iterator[int]:
    """All class ids of labels that are one class each, sets of them, or a tag for each word."""
    for label in labels:
        yield from [label] if isinstance(label, int) else label


def learn_class_weights(
    option: Literal["balanced"] | Mapping[str, float] | None,
    labels: Sequence[Any] | None,
    *,
    names: Sequence[str],
    column: str,
    problem: str,
) -> tuple[float, ...] | None:
    """The weight of each class, [C], as the option says or from how often it occurs, see `each_label`.

    Balanced weights are scikit-learn's N / (C n_c), of multi-label examples negatives per positive. Of tags C
    are those that occur, since a scheme has some that may not, such as I- of names of one word: their weight
    is 1, and nothing is weighed by it.
    """
    if option is None or labels is None:
        return None
    if isinstance(option, Mapping):
        unknown, missing = sorted({*option} - {*names}), sorted({*names} - {*option})
        if unknown or missing:
            problem = f"one weight for each class; unknown {unknown}, missing {missing}"
            raise ConfigError(f"task.class_weights: {problem}")
        return tuple(option[name] for name in names)
    counts = Counter(each_label(labels))
    empty = [name for index, name in enumerate(names) if not counts[index]]
    if empty and problem != "tags":
        raise DataError(f"class_weights=balanced, but no row has {empty}", split="train", column=column)
    numbers = [counts[index] for index in range(len(names))]
    if problem == "multi_label":
        return tuple((len(labels) - number) / number for number in numbers)
    num_present = len(names) - len(empty)
    return tuple(sum(numbers) / (num_present * number) if number else 1.0 for number in numbers)


def bias_of_labels(problem: str, labels: Sequence[Any], *, num_classes: int) -> tuple[float, ...]:
    """Biases [C] with which a model that sees nothing else predicts the labels best.

    Logarithms of the shares of the classes, for multi-label examples the log-odds of each (as the prior of
    Lin et al. 2017, "Focal Loss for Dense Object Detection", 4.1), or the mean number.
    """
    if problem == "regression":
        return (math.fsum(labels) / len(labels),)
    counts = Counter(each_label(labels))
    shares = [(counts[index] + UNSEEN) / (len(labels) + 2 * UNSEEN) for index in range(num_classes)]
    return tuple(math.log(share / (1 if problem == "single_label" else 1 - share)) for share in shares)
