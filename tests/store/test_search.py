"""Searching finds Chinese words of any length and English words by their beginning, and what is not there not."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatglm_magic.store import Query, Store
from chatglm_magic.store.search import SearchQuery, excerpt, index_text, split_words

from ..support.clock import measure
from ..support.stores import CONVERSATION, list_prompts, make_turn, open_store

TEXTS = {
    "zh": "什么是爱情？爱情是一个古老的问题。",
    "zh2": "机器学习模型的温度参数",
    "mixed": "GLM-4.5模型的temperature参数是0.95，用Python 3.12调用",
    "en": "The temperature of a language model: don't panic, it's naïve.",
    "code": "C++ and C# use top_p=0.7; a[i] <= b && c",
    "ja": "カタカナとひらがな、漢字。ﾊﾝｶｸ ガ",
    "ko": "안녕하세요 세계 ㅋㅋㅋ",
    "marks": "GLM℡™ ½ ㎏",
    "rare": "𠀀𪜀 是扩展区的字，㐀也是，〇和々也是",
    "wide": "ＦＵＬＬ　ｗｉｄｔｈ１２３",
    "emoji": "好的👍🏽 ❤️",
    "quoted": '他说"爱情"，「模型」—“model”',
    "operators": "cats AND dogs OR NEAR(birds) NOT fish* text:col ^start",
    "german": "Die STRASSE ist groß",
}

FOUND = {
    # Chinese of one, two, four and more characters
    "爱": "zh quoted",
    "爱情": "zh quoted",
    "什么是爱": "zh",
    "什么是爱情？": "zh",
    "爱情是一个古老的问题": "zh",
    "模型": "zh2 mixed quoted",
    "型模": "",
    "温度参数": "zh2",
    "机器翻译": "",
    "不存在": "",
    "爱情 古老": "zh",
    "古老 爱情": "zh",
    "爱情 模型": "quoted",
    "问题 什么": "zh",
    # together with English and figures
    "GLM": "mixed marks",
    "glm-4.5模型": "mixed",
    "模型的temperature": "mixed",
    "参数 python": "mixed",
    "用Python": "mixed",
    "3.12": "mixed",
    "0.95": "mixed",
    # English: whole words, and their beginnings from three letters on
    "temperature": "mixed en",
    "TEMPER": "mixed en",
    "tem": "mixed en",
    "te": "",
    "mod": "en quoted",
    "odel": "",
    "language model": "en",
    "langu mod": "en",
    "model language": "en",
    "it's": "en",
    "don't panic": "en",
    "naïve": "en",
    "zebra": "",
    "temperature zebra": "",
    # symbols
    "c++": "code",
    "C#": "code",
    "top_p": "code",
    "top_p=0.7": "code",
    "<=": "code",
    "&&": "code",
    "C": "code",
    "👍": "emoji",
    "❤️": "emoji",
    # other scripts, and characters outside of the common planes
    "カタ": "ja",
    "ひらがな": "ja",
    "ハンカク": "ja",
    "ﾊﾝ": "ja",
    "が": "ja",
    "안녕": "ko",
    "세": "ko",
    "ㅋㅋ": "ko",
    "glmtel": "marks",
    "KG": "marks",
    "𠀀": "rare",
    "𠀀𪜀": "rare",
    "㐀": "rare",
    "々": "rare",
    # width and case
    "full width": "wide",
    "１２３": "",
    "WIDTH123": "wide",
    "ＧＬＭ": "mixed marks",
    "strasse": "german",
    "GROSS": "german",
    # quotation marks and the index's own language are text
    '"': "quoted",
    '"爱情"': "zh quoted",
    '爱情"': "zh quoted",
    "AND": "operators code",
    "NOT": "operators",
    "near": "operators",
    "NEAR(birds)": "operators",
    "NEAR(cats dogs)": "",
    "fish*": "operators",
    "fis*": "operators",
    "text:col": "operators",
    "text : col": "operators",
    "^start": "operators",
    "start": "operators",
    "cats OR zebra": "",
    "cats NOT dogs": "operators",
    # punctuation alone is looked for as it stands, narrow or wide
    "？": "zh",
    "?": "zh",
    "——": "",
    "—": "quoted",
    "*": "operators",
}


@pytest.fixture(scope="module", params=["indexed", "growing"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All texts, each in another place of its turn; once in the index, and once not yet in it."""
    store = Store(tmp_path_factory.mktemp("search") / "h.sqlite")
    status = "complete" if request.param == "indexed" else "incomplete"
    for at, (name, text) in enumerate(TEXTS.items()):
        field = ("answer", "reasoning")[at % 2]
        made = make_turn("", "", system=name, status=status)
        store.put(replace(made, **{field: text}), at)
    request.addfinalizer(store.close)
    return store


@pytest.mark.parametrize("text", FOUND)
def test_a_search_finds_what_is_there_and_nothing_else(text: str, store: Store) -> None:
    """Every blank-separated part must be there; the same turns are found in the index and by reading."""
    for order in ("newest", "position", "duration"):
        found = store.find(Query(text=text, order=order))  # type: ignore[arg-type]
        assert sorted(row.turn.system or "" for row in found) == sorted(FOUND[text].split())
    assert store.count(Query(text=text)) == len(FOUND[text].split())


def test_trigram_would_not_have_found_two_characters() -> None:
    """The control: SQLite's own index for parts of words finds no Chinese word of two characters."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'trigram')")
    db.execute("INSERT INTO words VALUES ('什么是爱情')")
    assert db.execute("SELECT count(*) FROM words WHERE words MATCH '爱情'").fetchone() == (0,)
    db.close()


def test_blank_text_is_no_condition(store: Store) -> None:
    """A search box that holds nothing, or blanks, leaves all turns."""
    for text in ("", "  ", "\n\t　"):
        assert store.count(Query(text=text)) == len(store.find(Query(text=text))) == len(TEXTS)


def test_prompt_answer_and_reasoning_are_searched(tmp_path: Path) -> None:
    """A word is found wherever it stands, two words also apart, but no phrase across a seam."""
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(make_turn("红色", "绿色", reasoning="蓝色"), 0)
        for text in ("红", "绿色", "蓝色", "蓝色 红色"):
            assert store.count(Query(text=text)) == 1
        assert store.count(Query(text="红色绿色")) == store.count(Query(text="色绿")) == 0


def test_a_search_keeps_to_the_other_conditions(tmp_path: Path) -> None:
    """Text, conversation, status and range hold together, in the index and out of it."""
    with open_store(tmp_path / "h.sqlite") as store:
        for at in range(20):
            made = make_turn(f"爱情 {at}", conversation=f"{at % 2:012x}", asked={"temperature": at / 10})
            store.put(replace(made, status="complete" if at % 4 else "incomplete"), at)
        query = Query(text="爱情", conversation="0" * 12, temperature=(0.5, 1.5), order="newest")
        assert list_prompts(store, query) == [f"爱情 {at}" for at in (14, 12, 10, 8, 6)]
        assert list_prompts(store, replace(query, status="incomplete")) == ["爱情 12", "爱情 8"]
        assert [row.number for row in store.find(query, offset=1, limit=2)] == [13, 11]


def test_the_index_follows_a_turn_that_changes(tmp_path: Path) -> None:
    """What a turn said before is found no more, however often it was put; what it says now is found once."""
    with open_store(tmp_path / "h.sqlite") as store:
        made = make_turn("问", "旧词", status="incomplete")
        store.put(made, 0)
        store.put(replace(made, answer="旧词语"), 0)
        store.put(replace(made, answer="旧词语句", status="complete"), 0)
        store.put(replace(made, answer="旧词语句", status="superseded"), 0)
        assert store.count(Query(text="语句")) == store.count(Query(text="旧词")) == 1
        store.put(replace(made, answer="新词", status="complete"), 0)
        assert store.count(Query(text="旧")) == 0 and store.count(Query(text="新词")) == 1
        store.put(replace(made, answer="更新", status="incomplete"), 0)
        assert store.count(Query(text="新词")) == 0 and store.count(Query(text="更新")) == 1
        store.delete([made.id])
        assert store.count(Query(text="更新")) == 0


def indexed_rows(path: Path) -> int:
    db = sqlite3.connect(path)
    found: int = db.execute("SELECT count(*) FROM turns WHERE indexed = 1").fetchone()[0]
    db.close()
    return found


def test_turns_that_never_ended_are_indexed_later(tmp_path: Path) -> None:
    """What a killed kernel left is found at once, and in the index with a turn that ends an hour later."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        for at in range(3):
            store.put(make_turn(f"断了 {at}", status="incomplete"), at)
        recent = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        store.put(make_turn("正在", status="incomplete", created=recent), 3)
        assert indexed_rows(path) == 0 and store.count(Query(text="断了")) == 3
        store.put(make_turn("完了"), 4)
        assert indexed_rows(path) == 4 and store.count(Query(text="断了")) == 3
        assert store.count(Query(text="正在")) == store.count(Query(text="完了")) == 1


WORDS = st.text(alphabet='ab C爱情是のカｶ한𠀀+=#"*-_.，？？é １\x00\ue000😀\n', max_size=12)


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(WORDS, min_size=3, max_size=3), wanted=WORDS)
def test_reading_finds_what_the_index_finds(texts: list[str], wanted: str) -> None:
    """For any text and any query, both ways agree, and no query is an error to the index."""
    query = SearchQuery(wanted)
    if query.fts_query is None:
        return
    db = sqlite3.connect(":memory:")
    try:
        from chatglm_magic.store.schema import CREATE_WORDS

        db.execute(CREATE_WORDS)
        db.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (index_text(*texts),))
        found = db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (query.fts_query,)).fetchone()
    finally:
        db.close()
    assert query.matches(*texts) is (found == (1,))


def test_a_text_finds_itself() -> None:
    """Any piece of a text, cut at word ends, is found in it."""
    for text in TEXTS.values():
        cut = split_words(text)
        for start in range(len(cut)):
            assert SearchQuery("".join(cut[start : start + 1])).matches(text)


@pytest.mark.row("S33")
@pytest.mark.parametrize("text", ["(" * 2**20, "a" * 2**20, "爱" * 2**20, "\U0001f468\u200d" * 2**18, "ﷺ" * 2**15])
def test_cutting_a_hostile_text_is_linear(text: str) -> None:
    """A megabyte of anything is cut into words in about the time that a megabyte of prose takes."""
    prose = "to be or not to be, 这是一个问题。" * 40_000
    took, usual = (min(measure(split_words, given) for _ in range(3)) for given in (text, prose))
    assert took <= 5 * usual


def test_a_broken_index_is_begun_again(tmp_path: Path) -> None:
    """If SQLite finds the index malformed, turns are searched by reading, and nothing is lost or moved."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        for at in range(30):
            store.put(make_turn(f"爱情 {at}"), at)
    db = sqlite3.connect(path)
    db.execute("UPDATE words_data SET block = X'00' WHERE id > 10")
    db.commit()
    db.close()
    with open_store(path) as store:
        store.put(make_turn("爱情 30"), 30)
        assert store.unsaved == 0 and store.count(Query(text="爱情")) == 31
        assert store.take_notices() == [] and [file.name for file in tmp_path.glob("*corrupt*")] == []
        assert list_prompts(store, Query(conversation=CONVERSATION)) == [f"爱情 {at}" for at in range(31)]


@pytest.mark.parametrize(
    ("search", "text", "marked"),
    [
        ("sea", "The SEA is deep, overseas too", ["SEA"]),
        ("temp", "Temperature and temper", ["Temp", "temp"]),
        ("爱情", "什么是爱 情？爱情！", ["爱 情", "爱情"]),
        ("ＧＬＭ 智能", "GLM 是人工智能", ["GLM", "智能"]),
        ("fine", "it is ﬁne", ["ﬁne"]),
        ("->", "a -> b", [">"]),
        ("!?", "really!?", ["!?"]),
        ("nowhere", "The sea", []),
        (None, "The sea", []),
    ],
)
def test_what_is_found_is_marked_in_an_excerpt(search: str | None, text: str, marked: list[str]) -> None:
    """The parts make up the text, and those that are marked are what the search finds, as they are written."""
    parts = excerpt(search, ["", text])
    assert [part for part, is_hit in parts if is_hit] == marked and "".join(part for part, _ in parts) == text


def test_an_excerpt_is_a_line_around_what_is_found() -> None:
    """Of a long text it shows the first place, in the first text that has one; without any, a text's beginning."""
    long = "before " * 50 + "the\n\nwhale sings" + " after" * 50
    parts = excerpt("whale", ["nothing", long])
    line = "".join(part for part, _ in parts)
    assert line.startswith("…") and line.endswith("…") and "the whale sings" in line and len(line) < 125
    assert excerpt("absent", ["", "some\ntext"]) == [("some text", False)] and excerpt("x", []) == []


@given(st.text(max_size=60), st.text(max_size=300))
@example("\r", "ß")  # a blank search, and a letter that folds to two
def test_an_excerpt_of_any_text_is_found_in_it(search: str, text: str) -> None:
    """Whatever is typed and whatever is stored, nothing fails, and nothing is shown that isn't there."""
    squeezed = " ".join(text.split())
    for part, _ in excerpt(search, [text]):
        assert " ".join(part.strip("…").split()) in squeezed or "…" in text
