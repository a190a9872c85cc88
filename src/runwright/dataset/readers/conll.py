"""Column files as rows: sentences of words with their tags."""

from __future__ import annotations

from runwright.dataset.readers.conll_rows import ConllReader
from runwright.dataset.readers.paths import files_of_splits
from runwright.dataset.readers.reading import known_encoding
from runwright.dataset.readers.streams import read_files
from runwright.errors import ConfigError
from runwright.types import Splits

_SEPARATORS = {"whitespace": None, "tab": "\t", "comma": ",", "space": " "}


def read_conll(
    *,
    files: dict[str, str | list[str] | None],
    folder: str | None,
    columns: dict[str, int],
    separator: str,
    encoding: str,
) -> Splits:
    """Rows with a list of strings for each of `columns`, which says where it stands on a line.

    Lines without a word end a sentence; lines that begin with `-DOCSTART-` are left out. Raises DataError
    naming file, row and line for a line with too few columns.
    """
    mark = _SEPARATORS.get(separator, separator)
    if mark is not None and len(mark) != 1:
        raise ConfigError(
            f"dataset.source.separator: expected one character or one of {', '.join(_SEPARATORS)}, "
            f"got {separator!r}"
        )
    if not columns:
        raise ConfigError(
            "dataset.source.columns: expected at least one name with its place, such as words: 0"
        )
    reader = ConllReader(columns_on_line=columns, separator=mark, encoding=known_encoding(encoding))
    return read_files(reader, files_of_splits(files, folder))
