"""How honest answers look: tables, code, lists, formulas and money, Chinese, and what is still being written."""

import re

import pytest

from chatglm_magic.render.markdown import fenced_code, plain_html, to_html

from .support.markup import Page

FORMULA = '<span class="mathjax_process tex2jax_process">{}</span>'


def inner(text: str, streaming: bool = False) -> str:
    """The HTML of `text` without the frame."""
    return to_html(text, streaming=streaming).split("\n", 1)[1].removesuffix("</div>\n")


def formulas(text: str) -> list[str]:
    return Page(to_html(text)).formulas


def test_a_table_keeps_its_alignment() -> None:
    """Columns are aligned as written, and left where nothing is written."""
    assert inner("| a | b | c |\n|:-:|--:|---|\n| 1 | 2 | 三 |") == (
        '<div style="overflow-x:auto" tabindex="0"><table>\n<thead>\n<tr>\n'
        '<th style="text-align:center">a</th>\n<th style="text-align:right">b</th>\n'
        '<th style="text-align:left">c</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n'
        '<td style="text-align:center">1</td>\n<td style="text-align:right">2</td>\n'
        '<td style="text-align:left">三</td>\n</tr>\n</tbody>\n</table></div>\n'
    )


def test_lines_are_at_most_44rem_wide_and_code_scrolls() -> None:
    """Wherever an answer is shown; by keyboard too, for which what scrolls can be focused."""
    html = to_html("prose\n\n```\n" + "x" * 300 + "\n```\n\n|a|\n|-|\n|1|")
    assert "max-width:44rem" in html.partition(">")[0]
    assert re.search(r'<pre style="[^"]*white-space:pre;overflow-x:auto" tabindex="0">', html)
    assert '<div style="overflow-x:auto" tabindex="0"><table>' in html


def test_code_is_coloured_by_classes() -> None:
    """A known language gets Pygments classes, which Jupyter's themes colour, and no colour of its own."""
    html = inner("```python\ndef f(): pass\n```")
    assert '<div class="highlight"' in html
    assert '<span class="k">def</span>' in html
    assert "color:#" not in html


@pytest.mark.parametrize(
    "info", ["", "klingon", "{.python .x", "python:title", 'py"onload="x', "c++", "C#", "绘图"]
)
def test_code_stays_the_same_text_in_any_language(info: str) -> None:
    """Whatever follows the fence, the code comes out letter by letter."""
    code = '\n  if (a < b && c) { s = "x\\n" }  # 中文\n\n'
    assert Page(to_html(f"~~~{info}\n{code}\n~~~")).text.strip("\n") == code.strip("\n")


def test_an_open_code_block_is_a_code_block() -> None:
    """Code still being written is shown as code, with its colours."""
    html = inner("Look:\n\n```python\ndef f(", streaming=True)
    assert '<span class="k">def</span>' in html
    assert "```" not in html


def test_an_open_formula_is_held_as_source() -> None:
    """A formula still being written is not torn into headings and lists; once finished it is a formula."""
    begun = "So\n\n$$\na\n= b\n- c"
    assert "<strong>" not in inner(begun, streaming=True)
    assert "$$\na\n= b\n- c" in Page(inner(begun, streaming=True)).text
    assert formulas(begun + "\n$$") == ["$$\na\n= b\n- c\n$$"]


def test_lists_nest_and_tasks_have_boxes() -> None:
    """Nested lists stay nested, numbering keeps its start, a task has a box that is a character."""
    assert (
        inner("3. a\n   - b\n4. c") == '<ol start="3">\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n<li>c</li>\n</ol>\n'
    )
    html = inner("- [ ] open\n- [x] 完成\n- [z] none")
    assert '<li style="list-style-type:none">☐ open</li>' in html
    assert '<li style="list-style-type:none">☑ 完成</li>' in html
    assert "<li>[z] none</li>" in html


def test_headings_stay_out_of_the_table_of_contents() -> None:
    """A heading is a paragraph in bold that says it is one."""
    html = inner("## 标题")
    assert '<p role="heading" aria-level="2"' in html
    assert "<strong>标题</strong>" in html


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6",
        "$6元,公式$",
        "US$5, HK$6",
        "It is $5, or 6 for $7.",
        "$1,000 million to$ x",
        "from $10 or 20 dollars to 30$",
        "One dollar $7 only.\nCode: `$HOME` $",
        "$HOME/$USER and $PATH:$X",
        "a \\$x\\$ b",
        "`$x$`",
        "```\n$x$ $$y$$ \\(z\\)\n```",
        "$ x $",
        "$x\ny$",
        "$$",
        "\\( \\)",
    ],
)
def test_money_and_code_stay_as_they_are(text: str) -> None:
    """Dollars of money, of a shell, escaped or in code open no formula."""
    assert formulas(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$x^2$", ["$x^2$"]),
        ("公式$x^2$成立。", ["$x^2$"]),
        ("the $n$th and $a*b*c$ and $a_1, b_1$", ["$n$", "$a*b*c$", "$a_1, b_1$"]),
        (r"\(y\,z\) and \[w\\v\]", [r"\(y\,z\)", r"\[w\\v\]"]),
        ("$$E = mc^2$$ 其中", ["$$E = mc^2$$"]),
        (r"$\text{面积} = a\times b$", [r"$\text{面积} = a\times b$"]),
        (r"$6 \times 7$ and $5$", [r"$6 \times 7$", "$5$"]),
        ("Text\n\\[\na\n=\nb\n\\]\nmore", ["\\[\na\n=\nb\n\\]"]),
        ("\\begin{align}\na &= b \\\\\n&= c\n\\end{align}", ["\\begin{align}\na &= b \\\\\n&= c\n\\end{align}"]),
        ("1. Item\n\n   $$\n   x\n   $$", ["$$\nx\n$$"]),
        ("> $$\n> - x\n> $$", ["$$\n- x\n$$"]),
        ("| a |\n|---|\n| $x_i$ |", ["$x_i$"]),
        ("**$x$** *($y$)*", ["$x$", "$y$"]),
        ("$a<b$", ["$a<b$"]),
    ],
)
def test_formulas_reach_the_typesetter_whole(text: str, found: list[str]) -> None:
    """Each common form is a formula, with its backslashes, stars and underscores."""
    assert formulas(text) == found


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**注意：**请看", "<strong>注意：</strong>请看"),
        ("从**“三个方面”**来看", "从<strong>“三个方面”</strong>来看"),
        ("中文*强调*中文", "中文<em>强调</em>中文"),
        ("**(一)**和**`代码`**。", "<strong>(一)</strong>和<strong><code>代码</code></strong>。"),
        ("snake_case_name 2 * 3 * 4", "snake_case_name 2 * 3 * 4"),
        ("2**3**4 ~~旧~~", "2<strong>3</strong>4 <s>旧</s>"),
        ("床前明月光，\n疑是地上霜。", "床前明月光，<br>\n疑是地上霜。"),
        ("👨‍👩‍👧‍👦 ❤️", "👨‍👩‍👧‍👦 ❤️"),
    ],
)
def test_chinese_and_emphasis(text: str, html: str) -> None:
    """Bold works beside Chinese text and punctuation, verses keep their lines, emoji stay whole."""
    assert inner(text) == f"<p>{html}</p>\n"


def test_raw_html_is_shown_as_text() -> None:
    """A tag in an answer is something to read."""
    assert inner("<b>x</b> &lt; &copy;") == "<p>&lt;b&gt;x&lt;/b&gt; &lt; ©</p>\n"


def test_plain_html_is_the_text() -> None:
    """The plain form holds the exact text, escaped, in lines that wrap."""
    html = plain_html("<b>&\r\n  $x$ \x1b")
    assert '<pre style="white-space:pre-wrap">&lt;b&gt;&amp;\n  $x$ \\x1b</pre>' in html


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Look:\n```python\nx = 1\n\ny = 2\n```\nand\n~~~\nz\n~~~", "x = 1\n\ny = 2\n\nz"),
        ("no code `x`", "no code `x`"),
        ("1. a\n   ```\n   if x:\n       y\n   ```", "if x:\n    y"),
        ("````\n```\nx\n```\n````", "```\nx\n```"),
        ("```js\nopen", "open"),
        ("``` a`b\nx", "``` a`b\nx"),
        ("```\r\nx\r\n```", "x"),
        ("", ""),
    ],
)
def test_fenced_code_is_the_code_alone(text: str, code: str) -> None:
    """All fenced blocks, a blank line between two; the whole text when there is none."""
    assert fenced_code(text) == code
