"""The completion scripts in the real shells, and that they are what the command table says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from claude_failover.cli import completion
from claude_failover.cli.completion import FILES, script, write_all

COMPLETIONS = Path(__file__).resolve().parent.parent.parent / "completions"
SHELLS = [name for name in FILES if shutil.which(name)]


@pytest.mark.parametrize("shell", FILES)
def test_the_kept_script_is_the_one_that_the_table_gives(shell: str) -> None:
    assert (COMPLETIONS / FILES[shell]).read_text("utf-8") == script(shell), "make completions"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_the_script(shell: str, tmp_path: Path) -> None:
    write_all(tmp_path)
    done = subprocess.run([shell, "-n", str(tmp_path / FILES[shell])], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


CASES = [
    ("claude-failover sta", {"start", "status", "statusline"}),
    ("claude-failover --ve", {"--verbose", "--version"}),
    ("claude-failover stop --", {"--drain", "--now", "--help"}),
    ("claude-failover logs --level w", {"warning"}),
    ("claude-failover force-backend be", {"bedrock"}),
    ("claude-failover force au", {"auto"}),
    ("claude-failover --verbose completion z", {"zsh"}),
    ("claude-failover config ch", {"check"}),
]


def in_bash(line: str, home: Path) -> set[str]:
    words = line.split(" ")
    driver = (
        f"source {COMPLETIONS}/{FILES['bash']}\nCOMP_WORDS=({' '.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        'COMP_LINE="$*"\n_claude_failover\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", driver], capture_output=True, text=True, check=True, env={"PATH": os.defpath}, cwd=home
    )
    return set(done.stdout.split())


def in_fish(line: str, home: Path) -> set[str]:
    driver = f"source {COMPLETIONS}/{FILES['fish']}; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", driver],
        capture_output=True, text=True, check=True, env={"PATH": os.defpath, "HOME": str(home)}, cwd=home,
    )  # fmt: skip
    return {entry.split("\t")[0] for entry in done.stdout.splitlines()}


def in_zsh(line: str, home: Path) -> set[str]:
    shell = pexpect.spawn(
        "zsh", ["-f", "-i"], env={"PATH": os.defpath, "HOME": str(home), "TERM": "xterm", "PS1": "> "}, cwd=str(home),
        encoding="utf-8", timeout=40, dimensions=(100, 150),
    )  # fmt: skip
    try:
        shell.sendline(
            f"unset zle_bracketed_paste; unsetopt prompt_cr prompt_sp; fpath=({COMPLETIONS} $fpath); "
            "autoload -U compinit; compinit -u -D; PS1='REA''DY>'"
        )
        shell.expect("READY>")
        # Ctrl-D on a line that is not empty lists what fits and changes nothing; then the cursor goes back up.
        shell.send(line + "\x04")
        shell.expect(r"\x1b\[\d*A")
        shown = str(shell.before)
    finally:
        shell.close(force=True)
    listed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", shown.partition("\n")[2])
    return set(listed.split())


@pytest.mark.parametrize(("line", "offered"), CASES, ids=[line for line, _ in CASES])
def test_bash_offers_what_fits(line: str, offered: set[str], tmp_path: Path) -> None:
    assert offered == in_bash(line, tmp_path)


@pytest.mark.parametrize(("line", "offered"), CASES if "fish" in SHELLS else [], ids=str)
def test_fish_offers_what_fits(line: str, offered: set[str], tmp_path: Path) -> None:
    assert offered <= in_fish(line, tmp_path)


@pytest.mark.parametrize(("line", "offered"), CASES if "zsh" in SHELLS else [], ids=str)
def test_zsh_offers_what_fits(line: str, offered: set[str], tmp_path: Path) -> None:
    assert offered <= in_zsh(line, tmp_path)


def test_every_command_and_every_option_is_in_every_script() -> None:
    scripts = {shell: script(shell) for shell in FILES}
    for command in completion.commands():
        for name, _ in command.children:
            assert all(name in text for text in scripts.values())
        for flag in command.flags:
            for name in flag.names:
                assert name in scripts["bash"]
                assert name in scripts["zsh"]
                assert f" {name[2:] if name.startswith('--') else name[1:]} " in scripts["fish"]
