"""A hook of MkDocs: pages that are generated when the site is built (README, options, commands, notebook)."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from runwright.cli.main import COMMANDS, parser_of
from runwright.config.compose import compose
from runwright.config.signature import read_signature

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig  # pyright: ignore[reportMissingImports] - of the extra docs
    from mkdocs.structure.files import Files  # pyright: ignore[reportMissingImports] - of the extra docs

REPOSITORY = Path(__file__).resolve().parents[1]
CONF = REPOSITORY / "conf"
AT_THE_ROOT = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CITATION.cff", "LICENSE")
GROUPS = (
    *("dataset", "tokenizer", "task", "generation", "model", "optimizer", "scheduler", "trainer"),
    *("metric", "tracker"),
)
MISSING = object()  # no such key
ROOT_NODES = {"": "RootOptions", "seeds": "SeedOptions", "log": "LogOptions", "launch": "LaunchOptions"}
KEY_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>(?: [^#\n]*?)?)(?: +# ?(?P<comment>.*))?$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in docs/."""
    from mkdocs.structure.files import File  # pyright: ignore[reportMissingImports] - of the extra docs

    pages = {
        "index.md": (REPOSITORY / "README.md").read_text(encoding="utf-8"),
        **{name: (REPOSITORY / name).read_text(encoding="utf-8") for name in AT_THE_ROOT},
        "reference/options.md": "\n".join(options_page()),
        "reference/commands.md": "\n".join(commands_page()),
        "first-steps.md": notebook_page(REPOSITORY / "docs" / "first-steps.ipynb"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links as they are in the repository lead to the same pages of the site."""
    markdown = markdown.replace("](docs/", "](").replace("](../README.md", "](index.md")
    return re.sub(r"\]\(\.\./([A-Z]+\.\w+)", r"](\1", markdown)


def commands_page() -> Iterator[str]:
    """The help text of every command."""
    os.environ["COLUMNS"] = "100"
    yield "# Commands\n\nGenerated from the parsers; `runwright COMMAND --help` prints the same.\n"
    for name, summary in COMMANDS.items():
        end = "" if summary.endswith("?") else "."
        yield f"## runwright {name}\n\n{summary[0].upper()}{summary[1:]}{end}\n"
        yield f"```text\n{parser_of(name).format_help().rstrip()}\n```\n"


def options_page() -> Iterator[str]:
    """A table of keys, types and defaults for every shipped file of every group."""
    yield (
        "# Options\n\nGenerated from `conf/` and from the annotations that configurations are checked "
        "against. A key is set as `key=value` on the command line or in an experiment file.\n"
    )
    yield "## No group\n\n`conf/train.yaml`\n"
    yield from key_table(CONF / "train.yaml", compose([]).unresolved, prefix="")
    for group in GROUPS:
        yield f"## {group}\n"
        for file in sorted((CONF / group).rglob("*.yaml")):
            option = file.relative_to(CONF / group).with_suffix("").as_posix()
            title = f"Keys of every {group}" if option.startswith("_") else f"{group}={option}"
            yield f"### {title}\n\n{description(file)}\n"
            yield from key_table(file, composed_node(group, option), prefix=prefix_of(group, option))


def description(file: Path) -> str:
    """The comment at the top of a file, and what it extends."""
    lines = file.read_text(encoding="utf-8").splitlines()
    head = [line[1:].strip() for line in lines[: next(n for n, x in enumerate(lines) if x[:1] != "#")]]
    sentences = [f"`{line}`" if line.startswith("runwright ") else line for line in head if line[:1] != "@"]
    extended = [
        str(entry).removeprefix("/dataset/").partition("@")[0]
        for entry in yaml.safe_load("\n".join(lines)).get("defaults", [])
        if entry != "_self_"
    ]
    more = f"\n\nHas the keys of {', '.join(f'`{name}`' for name in extended)} too." if extended else ""
    return " ".join(sentences) + more


def prefix_of(group: str, option: str) -> str:
    """What comes before the keys of a file."""
    return f"metric.{option}." if group == "metric" else f"{group}."


def composed_node(group: str, option: str) -> dict[str, Any]:
    """The node that a choice gives together with what it extends: it has the targets of all keys."""
    chosen = f"{group}=[{option}]" if group == "metric" else f"{group}={option}"
    node = compose([] if option.startswith("_") else [chosen]).unresolved[group]
    return node[option] if group == "metric" else node


def key_table(file: Path, composed: dict[str, Any], *, prefix: str) -> Iterator[str]:
    """The rows of one file: key, default, type, comment."""
    text = file.read_text(encoding="utf-8").partition("\nhydra:")[0]
    content = yaml.safe_load(text)
    shown = []
    for key, comment in key_lines(text):
        value = lookup(content, key)
        hidden = key.startswith("defaults") or key.endswith("_target_") or value is MISSING
        if not hidden and not (isinstance(value, dict) and value):
            kind = type_of(composed, key, root=not prefix)
            shown.append(f"| `{prefix}{key}` | {code(value)} | {cell(kind)} | {cell(comment)} |")
    if shown:
        yield "\n".join(["| key | default | type | meaning |", "|---|---|---|---|", *shown, ""])


def key_lines(text: str) -> Iterator[tuple[str, str]]:
    """(dotted key, comment) of every line of block-style YAML that sets one."""
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if found := KEY_LINE.match(line):
            indent = len(found["indent"])
            parents = [parent for parent in parents if parent[0] < indent]
            parents.append((indent, found["key"]))
            yield ".".join(key for _, key in parents), found["comment"] or ""


def lookup(content: Any, key: str) -> Any:
    """The value under a dotted key."""
    for part in key.split("."):
        content = content.get(part, MISSING) if isinstance(content, dict) else MISSING
    return content


def type_of(content: dict[str, Any], key: str, *, root: bool) -> str:
    """What a value may be, by the annotation of the nearest target around it."""
    if key == "suits":  # of a metric: read by the check, not passed on
        return "a list of kinds of problem"
    parts = key.split(".")
    for depth in range(len(parts) - 1, -1, -1):
        node = lookup(content, ".".join(parts[:depth])) if depth else content
        target = node.get("_target_") if isinstance(node, dict) else None
        if root and ".".join(parts[:depth]) in ROOT_NODES:
            target = f"runwright.config.options.{ROOT_NODES['.'.join(parts[:depth])]}"
        if target:
            module, _, name = str(target).rpartition(".")
            signature = read_signature(module, name)
            option = signature.options.get(parts[depth]) if signature else None
            if option is None:
                return "anything"
            kind = option.type
            for _ in parts[depth + 1 :]:  # a key of a mapping that is an option
                kind = kind.items[0] if kind.kind == "dict" and kind.items else kind
            return str(kind)
    return ""


def code(value: Any) -> str:
    """A default as YAML has it."""
    text = "null" if value is None else json.dumps(value, ensure_ascii=False)
    return "required" if value == "???" else f"`{text.replace('|', chr(92) + '|')}`"


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def notebook_page(file: Path) -> str:
    """A notebook as Markdown, executed in an empty folder, with what its cells print."""
    import nbformat  # pyright: ignore[reportMissingImports] - of the extra docs
    from nbclient import NotebookClient  # pyright: ignore[reportMissingImports] - of the extra docs

    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    parts = []
    for each in notebook.cells:
        if each.cell_type == "markdown":
            parts.append(each.source)
            continue
        parts.append(f"```python\n{each.source}\n```")
        shown = "".join(text_of(output) for output in each.outputs).strip()
        if shown:
            parts.append(f"```text\n{shown}\n```")
    return "\n\n".join(parts) + "\n"


def text_of(output: Any) -> str:
    """What an output of a cell says; the log, on standard error, is left out."""
    if output.output_type == "stream":
        return output.text if output.name == "stdout" else ""
    return str(output.get("data", {}).get("text/plain", ""))
