"""Turn docstrings into Markdown for the API page.

Of reStructuredText they hold roles and formulas, and sections that the reader of Google's style does not
know. Options of the data have their text in the call that makes the field, `option(default, text)`; here a
table of them follows the docstring of their class.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any

import griffe
from latex2mathml.converter import convert

_SECTION = re.compile(r"^(Shape|References):\n((?: +.*\n?|\n(?= ))+)", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?([^`]+)`")
_INLINE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +.*| *$))*)", re.MULTILINE)


class Markdown(griffe.Extension):
    """Rewrites every docstring when its object is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is None:
            return
        obj.docstring.value = as_markdown(obj.docstring.value)
        if isinstance(obj, griffe.Class):
            obj.docstring.value += option_table(obj)


def as_markdown(text: str) -> str:
    """Return a docstring whose roles are code and whose formulas are a fence of `math`, or MathML.

    Its example is the section that is read as code, and sections of other names become paragraphs.
    """
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)
    text = _SECTION.sub(lambda found: f"**{found[1]}:**\n\n{textwrap.dedent(found[2])}", text)
    text = _BLOCK.sub(_fence, text)
    text = _INLINE.sub(lambda formula: convert(formula[1]), text)
    return _ROLE.sub(r"`\1`", text)


def option_table(kind: griffe.Class) -> str:
    """Return a table of the fields that `option` makes, or nothing where a class has none."""
    rows = []
    for name, member in kind.members.items():
        if not isinstance(member, griffe.Attribute):
            continue
        call = ast.parse(str(member.value), mode="eval").body
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "option":
            default, text = ast.unparse(call.args[0]), ast.literal_eval(call.args[1])
            rows.append(f"| `{name}` | `{default}` | {text.replace('%%', '%')} |")
    head = ["", "", "| option | default | meaning |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) if rows else ""


def _fence(block: re.Match[str]) -> str:
    formula = textwrap.dedent(block[2]).strip()
    if "&" in formula and r"\begin" not in formula:
        formula = f"\\begin{{align*}}{formula}\\end{{align*}}"
    indent = block[1]
    return f"\n{indent}```math\n{textwrap.indent(formula, indent)}\n{indent}```\n"
