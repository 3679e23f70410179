"""Reads the line of ``%chatglm_history``: one thing to do, its value, and what it is to be done to."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from ..errors import CommandError

HELP = """%chatglm_history                     list the conversation's turns, newest first
%chatglm_history --search TEXT       … those in which these words stand (any language)
%chatglm_history --show N            one turn, whole
%chatglm_history --undo              take the last turn back
%chatglm_history --reset             begin a new conversation
%chatglm_history --resume [ID]       go on with an earlier conversation, by default the newest
%chatglm_history --fork N            begin a conversation with a copy of the turns up to N
%chatglm_history --export FILE       write a .jsonl, .md, .html or .csv file (.md: pictures and HTML stay live)
%chatglm_history --import FILE       read a .jsonl of turns, or a list of OpenAI-style messages (.json, .jsonl)
%chatglm_history --forget            delete the conversation's turns for good
%chatglm_history --view              show the history viewer

--all        every conversation, not the present one alone (with list, --search, --show, --export, --forget)
--page N     a further page of the list; 20 turns each
--force      let --export write over a file"""

WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")
ACTIONS = {
    **dict.fromkeys(("--search", "--show", "--fork", "--export", "--import"), True),
    **dict.fromkeys(("--undo", "--reset", "--resume", "--forget", "--view", "--list"), False),
}
"""What can be done, and whether it needs a word after it."""
FLAGS = ("--all", "--force", "--page")
SEE = "(see %chatglm_history --help)"


@dataclass(frozen=True)
class Order:
    """A line of the magic, read."""

    action: str = "--list"
    word: str = ""
    everything: bool = False
    page: int = 1
    force: bool = False


def read(line: str) -> Order:
    """Read the magic's line.

    :raises CommandError: for what is no option, for two actions, and for a missing or needless word.
    """
    words, actions, flags, page = [], [], set(), 1
    tokens = iter(WORD.findall(line))
    for token in tokens:
        if token in ACTIONS:
            actions.append(token)
        elif token == "--page":
            page = number(next(tokens, ""), token)
        elif token in FLAGS:
            flags.add(token)
        elif token.startswith("--"):
            close = difflib.get_close_matches(token, [*ACTIONS, *FLAGS], n=1)
            raise CommandError(f"no option {token}. {f'Did you mean {close[0]}?' if close else SEE}")
        else:
            words.append(token[1:-1] if token[0] in "\"'" and token[-1] == token[0] and len(token) > 1 else token)
    if len(actions) > 1:
        raise CommandError(f"{actions[0]} and {actions[1]} are two things: one at a time {SEE}")
    action, word = (actions or ["--list"])[0], " ".join(words)
    if ACTIONS[action] and not word:
        raise CommandError(f"{action} needs a value {SEE}")
    if word and not ACTIONS[action] and action != "--resume":
        raise CommandError(f"{word!r} is no option {SEE}")
    return Order(action, word, "--all" in flags, page, "--force" in flags)


def number(word: str, option: str) -> int:
    """Read a number from 1 on.

    :raises CommandError: for anything else.
    """
    if not (word.isascii() and word.isdigit() and 0 < int(word) < 2**62):
        raise CommandError(f"{option} needs a number from 1 on {SEE}")
    return int(word)
