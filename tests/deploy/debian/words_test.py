#!/usr/bin/env python3
"""What bash, zsh and fish complete, and what man(1) formats, of what fiberd prints for them: in the real programs. Those that
are not installed are passed over by name. Ends on "N passed, M failed".

usage: words_test.py FIBERD
"""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

fiberd = pathlib.Path(sys.argv[1]).resolve()
directory = pathlib.Path(tempfile.mkdtemp(prefix="fiberd-words-"))
COMMANDS = {"run", "check", "config", "reload", "status", "healthcheck", "top", "upgrade", "acme", "version", "completion", "help"}


class Passed(Exception):
    """The program is not here."""


def need(program):
    if shutil.which(program) is None:
        raise Passed(f"no {program}")


def told(*arguments):
    done = subprocess.run([fiberd, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr == "", done.stderr
    return done.stdout


def run(*command, text=None, **more):
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False, cwd=directory, **more)


def equal(got, wanted, about=""):
    assert got == wanted, f"{about}: {got!r} instead of {wanted!r}"


# What is asked of each shell: the line so far, and the candidates; of some only that they are among others.
LINES = [
    ("fiberd ", COMMANDS),
    ("fiberd he", {"healthcheck", "help"}),
    ("fiberd config ", {"default", "schema"}),
    ("fiberd acme ", {"list", "renew"}),
    ("fiberd config schema --m", {"--markdown", "--man"}),
    ("fiberd completion ", {"bash", "zsh", "fish"}),
    ("fiberd --set runtime.gomax", {"runtime.gomaxprocs="}),
    ("fiberd check --sh", {"--show"}),
    ("fiberd status --j", {"--json"}),
    # A file called as a command is none.
    ("fiberd -c run config ", {"default", "schema"}),
    ("fiberd -c si", {"site.yaml", "sites/"}),
    ("fiberd upgrade --binary si", {"site.txt", "site.yaml", "sites/"}),
]


def bash_completes():
    need("bash")
    script = told("completion", "bash")
    (directory / "bash").write_text(script)
    equal(run("bash", "-n", "bash").stderr, "")
    ask = """
source ./bash
line=$1
read -ra COMP_WORDS <<< "$line"
[[ $line != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[ "$(complete -p fiberd)" = 'complete -F _fiberd fiberd' ] || exit 1
_fiberd fiberd
for c in "${COMPREPLY[@]}"; do [ ! -d "$c" ] || c=$c/; printf '%s\\n' "$c"; done
"""
    for line, wanted in [*LINES, ("fiberd check si", {"site.yaml", "sites/"}), ("fiberd --config = si", {"site.yaml", "sites/"}),
                         ("fiberd --set log.level = run ", COMMANDS), ("fiberd --set log.level = r", set())]:
        done = run("bash", "-c", ask, "bash", line)
        equal(done.returncode, 0, line + done.stderr)
        equal(set(done.stdout.split()), wanted, line)


def fish_completes():
    need("fish")
    (directory / "fish").write_text(told("completion", "fish"))
    home = {**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory / "config")}
    for line, wanted in LINES:
        if line == "fiberd -c si":  # fish offers files by itself, whatever their ends
            wanted = {"site.txt", "site.yaml", "sites/"}
        done = run("fish", "--no-config", "-c", f"source ./fish; complete -C '{line}'", env=home)
        equal(done.returncode, 0, line + done.stderr)
        equal({candidate.split("\t")[0] for candidate in done.stdout.splitlines()}, wanted, line)


def zsh_completes():
    """In a terminal: its completion works nowhere else."""
    need("zsh")
    (directory / "functions").mkdir()
    (directory / "functions/_fiberd").write_text(told("completion", "zsh"))
    equal(run("zsh", "-n", "functions/_fiberd").stderr, "")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "HOME": str(directory), "TERM": "dumb", "LC_ALL": "C"})
    try:
        def until(what, within=60):
            got, end = "", time.monotonic() + within
            while what not in got:
                assert time.monotonic() < end, f"no {what!r} came: {got!r}"
                if select.select([terminal], [], [], 1)[0]:
                    got += os.read(terminal, 65536).decode(errors="replace")
            return got

        def say(text):
            os.write(terminal, text.encode())

        # What Tab makes of the line is asked of the line editor itself: no screen is read.
        say("PS1=; unsetopt zle_bracketed_paste; setopt no_beep list_ambiguous; fpath=($PWD/functions $fpath)\n"
            "autoload -Uz compinit; compinit -u -d $PWD/dump; zstyle ':completion:*' menu no\n"
            "tell() { print -r -- \"<\"\"$BUFFER>\"; BUFFER=; zle redisplay }; zle -N tell; bindkey '^X' tell; print rea''dy\n")
        until("ready")
        for line, wanted in [("fiberd healt", "fiberd healthcheck "), ("fiberd config sch", "fiberd config schema "),
                             ("fiberd check --sh", "fiberd check --show "), ("fiberd completion fi", "fiberd completion fish "),
                             ("fiberd --set runtime.gomax", "fiberd --set runtime.gomaxprocs="),
                             ("fiberd -c run config de", "fiberd -c run config default "),
                             ("fiberd check -c site.", "fiberd check -c site.yaml "),
                             ("fiberd upgrade --rollb", "fiberd upgrade --rollback-after=")]:
            say(line + "\t\x18")
            until(f"<{wanted}>")
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def pages():
    (directory / "fiberd.1").write_text(told("help", "--man"))
    (directory / "fiberd.yaml.5").write_text(told("config", "schema", "--man"))
    return "fiberd.1", "fiberd.yaml.5"


def mandoc_finds_nothing():
    need("mandoc")
    for page in pages():
        done = run("mandoc", "-Tlint", "-Wwarning", page)
        equal(done.stdout + done.stderr, "", page)


def man_warns_of_nothing_and_shows_all():
    need("man")
    shown = {}
    for page in pages():
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "1000"}
        environment.pop("MANOPT", None)
        done = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", page, env=environment)
        equal(done.stderr, "", page)
        shown[page] = re.sub(".\b|\033\\[[0-9;]*m", "", done.stdout)
    # What help tells of each command is there, and what the schema has.
    for command in ([], *([c] for c in sorted(COMMANDS - {"help"})), ["config", "default"], ["config", "schema"]):
        for option in re.findall(r"^  (?:-\w,)?(--[\w-]+)", told(*command, "--help"), re.M):
            assert option in shown["fiberd.1"], f"no {option} of {command}"
    keys = re.findall(r'^"([^"]+)":$', told("config", "schema"), re.M)
    assert len(keys) > 100, keys
    for key in keys:
        assert re.search(r"^\s+" + re.escape(key) + r"(\s|$)", shown["fiberd.yaml.5"], re.M), f"no {key}"


def pages_of_one_time_are_one():
    def page(epoch):
        return subprocess.run([fiberd, "help", "--man"], capture_output=True, text=True, check=True,
                              env={**os.environ, "SOURCE_DATE_EPOCH": epoch}).stdout.splitlines()[0]
    equal(page("86400").split('"')[1], "1970-01-02")
    for nonsense in ("", "-1", "1e9", "99999999999999999999"):
        assert re.fullmatch(r'\.TH FIBERD 1 "20\d\d-\d\d-\d\d" "fiberd [^"]+"', page(nonsense)), page(nonsense)


def a_shell_that_is_none_is_refused():
    done = run(str(fiberd), "completion", "tcsh")
    equal((done.returncode, done.stdout), (2, ""))


CASES = [bash_completes, fish_completes, zsh_completes, mandoc_finds_nothing, man_warns_of_nothing_and_shows_all,
         pages_of_one_time_are_one, a_shell_that_is_none_is_refused]


def main():
    passed, failed = 0, 0
    (directory / "sites").mkdir()
    for name in ("site.yaml", "site.txt"):
        (directory / name).write_text("")
    for case in CASES:
        try:
            case()
            passed += 1
            print(f"ok   {case.__name__}")
        except Passed as why:
            print(f"skip {case.__name__}: {why}")
        except (AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAIL {case.__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


try:
    code = main()
finally:
    shutil.rmtree(directory)
sys.exit(code)
