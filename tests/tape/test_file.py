"""The file: whoever writes, whenever it ends, no finished answer is lost and no line is torn."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from chatglm_magic.errors import TapeError
from chatglm_magic.tape.entry import TapeEntry, request_key
from chatglm_magic.tape.file import TapeFile

from ..support.scale import choose_count
from ..support.servers import ScriptedServer, answer, chunk, sse
from ..support.tapes import count_pieces, make_model, make_offline_model, read_lines, read_miss

ROOT = Path(__file__).parents[2]
EACH = choose_count(100, 500)


def recorder(server: ScriptedServer, tape: Path, first: int, count: int, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.support.tape_recorder",
        server.url,
        str(tape),
        str(first),
        str(count),
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def recorded(number: int, text: str = "答") -> TapeEntry:
    """Return an answer to put on a tape."""
    request = {"dialect": "openai", "body": {"messages": [{"role": "user", "content": f"q{number}"}]}}
    turn = {"prompt": f"q{number}", "answer": text, "status": "complete"}
    return TapeEntry(request_key(request, 0), 0, request, turn, [[0.1, text, ""]])


def test_two_processes_record_into_one_tape(tmp_path: Path) -> None:
    """Two processes that record into one file at once lose nothing: 1 000 whole lines, each once."""
    tape = tmp_path / "t.jsonl"
    with (
        ScriptedServer(count_pieces()) as server,
        recorder(server, tape, 0, EACH) as one,
        recorder(server, tape, EACH, EACH) as other,
    ):
        assert [one.wait(100), other.wait(100)] == [0, 0]
    found = read_lines(tape)
    assert len(found) == len({line["key"] for line in found}) == 2 * EACH
    llm = make_offline_model("chatglm", tape)
    prompts = [f"问题 {number}" for number in range(2 * EACH)]
    assert [said.split(" 答 ")[0] for said in llm.batch(prompts)] == prompts


def test_threads_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    """Thirty-two threads through two objects of one file: each answer stands there once, and can be found."""
    files = [TapeFile(tmp_path / "t.jsonl") for _ in range(2)]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: files[n % 2].add(recorded(n // 2), again=False), range(800)))
    assert len(read_lines(tmp_path / "t.jsonl")) == 400
    assert all(file.find(recorded(n).key) for n in range(400) for file in files)


@pytest.mark.parametrize("round", range(3))
def test_a_kill_loses_no_finished_answer(round: int, tmp_path: Path) -> None:
    """After kill -9 of a process that records, every answer it had is on the tape, and it goes on from there."""
    tape, told = tmp_path / "t.jsonl", 20 + 7 * round
    with ScriptedServer(count_pieces()) as server:
        process = recorder(server, tape, 0, 100_000, "each")
        assert process.stdout is not None
        had = [process.stdout.readline().rstrip("\n") for _ in range(told)]
        process.send_signal(signal.SIGKILL)
        had += process.stdout.read().splitlines()
        process.wait(10)
        process.stdout.close()
        known = {line["turn"]["prompt"] for line in read_lines(tape)}
        assert len(had) >= told and set(had) <= known
        asked = len(server.posts)
        llm = make_model(server, "chatglm", tape)
        assert [llm.invoke(prompt).split(" 答 ")[0] for prompt in had] == had and len(server.posts) == asked


def test_a_torn_last_line_is_told_and_passed_over(tmp_path: Path) -> None:
    """The rest of the tape holds, the next answer begins a line of its own, and people are told once."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        first = make_model(server, "openai", tape).invoke("one")
        make_model(server, "openai", tape).invoke("two")
        whole = tape.read_bytes()
        tape.write_bytes(whole[:-40])
        llm = make_model(server, "openai", tape)
        with pytest.warns(UserWarning, match=r"line 2 isn't JSON \(truncated\)\. Skipped") as caught:
            assert llm.invoke("one") == first
            assert llm.invoke("two") == "two 答 3"
            assert llm.invoke("two") == "two 答 3"
        assert len(caught) == 1
    with pytest.warns(UserWarning, match="line 2 isn't JSON"):
        assert TapeFile(tape).find(recorded(0).key) is None
    assert tape.read_bytes().startswith(whole[:-40] + b"\n{")


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    """An editor that leaves the last line end away loses nothing, and the next line is one of its own."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        first = make_model(server, "openai", tape).invoke("one")
        tape.write_bytes(tape.read_bytes().rstrip(b"\n"))
        llm = make_model(server, "openai", tape)
        assert llm.invoke("one") == first
        llm.invoke("two")
    assert len(read_lines(tape)) == 2 and make_offline_model("openai", tape).invoke("one") == first


def test_lines_that_are_no_answers_are_told_and_passed_over(tmp_path: Path) -> None:
    """Marks of a merge, half a line, another program's line, a key that is not its request's: the rest holds."""
    tape = tmp_path / "t.jsonl"
    good = recorded(1).to_line()
    odd = [
        b"<<<<<<< ours\n",
        good.replace(b'"q1"', b'"q2"', 1),
        good.replace(b"0.1", b"1e999"),
        good.replace(b"0.1", b"9" * 400),
        good.replace(b"[[0.1, ", b"[["),
        b'{"key": 1}\n',
        b"[]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
    ]
    tape.write_bytes(b"".join([*odd, b"\r\n", good.replace(b"\n", b"\r\n")]))
    file = TapeFile(tape)
    with pytest.warns(UserWarning, match="line 1 isn't JSON; line 2 has a key that is not its request's.*6 more"):
        assert file.find(recorded(1).key) is not None
    assert file.find(recorded(2).key) is None and len(list(file.entries())) == 1


def test_the_first_answer_of_a_key_counts(tmp_path: Path) -> None:
    """Where a merge leaves two answers to one question, the first in the file is given."""
    tape = tmp_path / "t.jsonl"
    tape.write_bytes(recorded(1, "first").to_line() + recorded(1, "second").to_line())
    found = TapeFile(tape).find(recorded(1).key)
    assert found is not None and found.turn["answer"] == "first"


def test_tapes_merge_line_by_line(tmp_path: Path) -> None:
    """``sort -u`` and git's union of two tapes hold all answers of both, each once, in whatever order."""
    one, two, base = (tmp_path / name for name in ("one.jsonl", "two.jsonl", "base.jsonl"))
    with ScriptedServer(count_pieces()) as server:
        make_model(server, "openai", base).batch([f"q{n}" for n in range(5)])
        for path, numbers in ((one, range(5, 12)), (two, range(9, 20))):
            path.write_bytes(base.read_bytes())
            make_model(server, "openai", path).batch([f"q{n}" for n in numbers])
    sorted_ = subprocess.run(["sort", "-u", one, two], capture_output=True, check=True).stdout
    union = subprocess.run(
        ["git", "merge-file", "--union", "-p", one, base, two], capture_output=True, check=True
    ).stdout
    for merged in (sorted_, union):
        (tmp_path / "merged.jsonl").write_bytes(merged)
        llm = make_offline_model("openai", tmp_path / "merged.jsonl")
        assert [said.split(" 答 ")[0] for said in llm.batch([f"q{n}" for n in range(20)])] == [
            f"q{n}" for n in range(20)
        ]


def test_a_file_changed_by_others_is_read_again(tmp_path: Path) -> None:
    """Lines that are added, a file that is exchanged, one edited in place, one taken away: each is seen."""
    tape = tmp_path / "t.jsonl"
    tape.write_bytes(recorded(1, "aaa").to_line())
    file = TapeFile(tape)

    def said(number: int) -> str | None:
        found = file.find(recorded(number).key)
        return found.turn["answer"] if found else None

    assert (said(1), said(2)) == ("aaa", None)
    with tape.open("ab") as writer:
        writer.write(recorded(2, "bbb").to_line())
    assert (said(1), said(2)) == ("aaa", "bbb")
    (tmp_path / "new").write_bytes(recorded(2, "ccc").to_line() + recorded(3).to_line() * 3)
    os.replace(tmp_path / "new", tape)
    assert (said(1), said(2)) == (None, "ccc")
    tape.write_bytes(tape.read_bytes().replace(b"ccc", b"ddd"))
    os.utime(tape, (1, 1))
    assert said(2) == "ddd"
    with tape.open("r+b") as writer:
        writer.write(recorded(4, "longer than what stood there before, and more besides").to_line() * 40)
    assert (said(2), said(4)) == (None, "longer than what stood there before, and more besides")
    start = recorded(5, "eee").to_line() + recorded(6, "long " * 100).to_line()
    tape.write_bytes(start)
    assert said(5) == "eee"
    (tmp_path / "new").write_bytes(start.replace(b"eee", b"fff") + recorded(7).to_line())
    os.replace(tmp_path / "new", tape)  # as long as before up to there, with more behind it
    assert (said(5), said(7)) == ("fff", "答")
    tape.unlink()
    assert said(5) is None


def test_an_answer_goes_into_the_file_that_is_there_in_the_end(tmp_path: Path) -> None:
    """Where the tape is exchanged while one waits to add to it, as git does, the answer gets into the new file."""
    fcntl = pytest.importorskip("fcntl")
    tape, new = tmp_path / "t.jsonl", tmp_path / "new"
    tape.write_bytes(recorded(1).to_line())
    new.write_bytes(recorded(2).to_line())
    file = TapeFile(tape)
    with tape.open("rb") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        adding = pool.submit(file.add, recorded(3), again=False)
        time.sleep(0.2)
        assert not adding.done()  # the control: it waits
        os.replace(new, tape)
        fcntl.flock(other, fcntl.LOCK_UN)
        adding.result(10)
    assert [line["turn"]["prompt"] for line in read_lines(tape)] == ["q2", "q3"]
    assert file.find(recorded(1).key) is None and file.find(recorded(2).key) is not None


def test_an_answer_edited_by_hand_is_given_as_it_stands(tmp_path: Path) -> None:
    """Whoever changes an answer's text on the tape gets that text, in one piece."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        make_model(server, "openai", tape).invoke("q")
    text = tape.read_text(encoding="utf-8")
    tape.write_text(text.replace('"answer": "q 答 1"', '"answer": "改过"'), encoding="utf-8")
    llm = make_offline_model("openai", tape)
    assert [piece for piece in llm.stream("q") if piece] == ["改过"]
    assert llm.generate(["q"]).generations[0][0].generation_info["finish_reason"] == "stop"  # type: ignore[index]


def test_a_tape_can_be_read_in_review(tmp_path: Path) -> None:
    """One line an answer, Chinese as Chinese, keys in order, and no mark that turns text round or ends a line."""
    tape = tmp_path / "t.jsonl"
    said = "你好\u202e世界\u2028\x7f\udc80 end\nnext"
    with ScriptedServer(sse([json.dumps(chunk(said)), chunk(None, finish_reason="stop")])) as server:
        first = make_model(server, "openai", tape, temperature=0.5).invoke("问\u202e题\udfff\n?")
    raw = tape.read_bytes().decode()
    assert raw.count("\n") == 1 == len(raw.splitlines())
    assert "你好" in raw and '"content": "问' in raw and r"\u202e世界\u2028\u007f" in raw
    assert not {"\u202e", "\u2028", "\x7f"} & set(raw)
    assert list(read_lines(tape)[0]) == ["key", "sample", "request", "turn", "pieces"]
    assert list(read_lines(tape)[0]["request"]["body"]) == ["messages", "temperature"]
    assert make_offline_model("openai", tape, temperature=0.5).invoke("问\u202e题\udfff\n?") == first == said


def test_a_tape_is_its_owners_alone(tmp_path: Path) -> None:
    """A new tape is readable by nobody else, even where the shell's mask would let it be."""
    tape, before = tmp_path / "t.jsonl", os.umask(0)
    try:
        TapeFile(tape).add(recorded(1), again=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(tape.stat().st_mode) == 0o600


def test_what_is_no_tape_is_neither_written_nor_followed(tmp_path: Path) -> None:
    """A link, a folder, a pipe, a file of others, a folder that is missing: refused before anything is asked."""
    real, other = tmp_path / "real.jsonl", tmp_path / "notes.txt"
    real.touch()
    other.write_text("my notes\n", encoding="utf-8")
    (tmp_path / "link.jsonl").symlink_to(real)
    os.mkfifo(tmp_path / "pipe")
    refused = {
        "link.jsonl": "a link, and those are not followed",
        "pipe": "isn't a regular file",
        ".": "isn't a regular file",
        "notes.txt": "isn't a tape, so nothing is added",
        "missing/t.jsonl": "There is no folder",
    }
    with ScriptedServer(answer("a")) as server:
        for name, why in refused.items():
            with warnings.catch_warnings(), pytest.raises(TapeError) as caught:
                warnings.simplefilter("ignore")  # of lines that are no answers
                make_model(server, "openai", tmp_path / name).invoke("q")
            assert caught.value.kind == "tape_file" and why in str(caught.value), name
        assert server.asked == []
        make_model(server, "openai", real).invoke("q")  # the control: the link's target itself is taken
        assert len(server.posts) == 1
    assert other.read_text(encoding="utf-8") == "my notes\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that can be full")
def test_a_full_disk_is_told_with_the_answer(tmp_path: Path) -> None:
    """An answer that can't be recorded is not lost: the error holds its text, and the tape stays whole."""
    import resource

    tape = tmp_path / "t.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape)
        llm.invoke("one")
        whole = tape.read_bytes()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, before[1]))
            with pytest.raises(TapeError, match="can't be written") as caught:
                llm.invoke("two")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert caught.value.partial == "two 答 2" and tape.read_bytes() == whole
        assert llm.invoke("two") == "two 答 3"


def ended(child: int, seconds: float = 20.0) -> int:
    """Wait for a child; return how it ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(found[1])
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


def opened() -> set[Path]:
    """Return the files that this process has open, where the system tells."""
    found = set()
    for name in os.listdir("/proc/self/fd") if Path("/proc/self/fd").exists() else ():
        with suppress(OSError):
            found.add(Path(f"/proc/self/fd/{name}").readlink())
    return found


def test_a_fork_while_others_record_does_not_hang(tmp_path: Path) -> None:
    """A child that is born while a thread adds to the tape can use it at once, and holds no copy of it."""
    tape = tmp_path / "t.jsonl"
    file, done = TapeFile(tape), threading.Event()

    def add() -> None:
        number = 0
        while not done.is_set():
            file.add(recorded(number), again=False)
            number += 1

    thread = threading.Thread(target=add)
    thread.start()
    try:
        for number in range(30):
            child = os.fork()
            if not child:
                try:
                    if tape in opened():  # a copy of the parent's would hold the tape for it
                        os._exit(3)
                    file.add(recorded(-1 - number), again=False)
                    os._exit(0 if file.find(recorded(-1 - number).key) else 1)
                finally:
                    os._exit(2)
            assert ended(child) == 0
    finally:
        done.set()
        thread.join()


def test_a_stream_without_an_end_is_not_on_the_tape(tmp_path: Path) -> None:
    """What was half an answer when it was recorded is asked for in replay, and missing."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(sse([chunk("half")], done=False)) as server, pytest.raises(ValueError, match="incomplete"):
        make_model(server, "openai", tape).invoke("q")
    assert "holds no answer" in read_miss(lambda: make_offline_model("openai", tape).invoke("q"))
