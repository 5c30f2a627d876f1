"""Presets of others: pulled from real git repositories, pinned, read offline, and refused where hostile."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from trees import REPOSITORY, TINY_MODEL, Result, files_below, write_tree

from qtune import resources, sandbox
from qtune.config.project import find_project
from qtune.errors import QtuneError
from qtune.prepare import renderings
from qtune.render import templates
from qtune.sharing import git as git_module
from qtune.sharing.workplace import workplace

PROJECT = f"train: {{model_name_or_path: {TINY_MODEL}, dataset: rows}}\n"
HOUSE = "about: house style\nextends: lora\ntrain: {lora_rank: 7}\n"
TRAIN_TEMPLATE = (REPOSITORY / "templates" / "train.yaml.j2").read_text(encoding="utf-8")
LAUNCH_TEMPLATE = (REPOSITORY / "templates" / "launch" / "launch.sh.j2").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and a git that knows no configuration of this machine's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    alone(monkeypatch)


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine's reaches git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@example.org")


def git(repository: Path, *arguments: str, given: bytes | None = None) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments], check=True, capture_output=True, input=given
    )
    return done.stdout.decode().strip()


def commit(repository: Path, tree: Mapping[str, Any] | None = None) -> str:
    """Write files, commit everything, and say the commit."""
    write_tree(repository, tree or {})
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "a change")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `upstream` is a copy of."""
    root = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as environment:
        alone(environment)
        git(root, "init", "--quiet", "--initial-branch=main", "--template=")
        commit(root, {"presets/house.yaml": HOUSE})
    return root


@pytest.fixture
def upstream(tmp_path: Path, _repository: Path) -> Path:
    """A repository with one preset in `presets/`."""
    return shutil.copytree(_repository, tmp_path / "upstream")


@pytest.fixture
def with_sources(project: Callable[..., Path]) -> Callable[..., Path]:
    """Makes a project with these entries under `presets:`, in YAML."""

    def make(*entries: str, tree: Mapping[str, Any] | None = None) -> Path:
        listed = "".join(f"- {entry}\n" for entry in entries)
        return project({"qtune.yaml": f"presets:\n{listed}{PROJECT}", **(tree or {})})

    return make


TEAM = "team: git+../upstream@main#presets"


def rendered(root: Path, name: str = "house") -> dict[str, bytes]:
    directory = root / "rendered" / name
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refused(result: Result, *says: str) -> None:
    """One message of one line with its fix, exit code 2."""
    assert result.code == 2, result
    (error, fix) = result.err.splitlines()
    assert error.startswith("error: ") and fix.startswith("  fix: ")
    for words in says:
        assert words in result.err


def test_a_render_stays_as_pulled_until_the_next_pull(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    root = with_sources(TEAM)
    first = git(upstream, "rev-parse", "HEAD")
    assert qtune("presets", "pull", directory=root).out == f"team: main is {first[:10]}, 1 file\n"
    assert qtune("render", "house", directory=root).code == 0
    before = rendered(root)
    assert b"lora_rank: 7 " in before["train.yaml"]
    assert f"# house (team@{first[:10]}/presets/house.yaml:3)".encode() in before["train.yaml"]

    second = commit(upstream, {"presets/house.yaml": HOUSE.replace("7", "9"), "presets/new.yaml": HOUSE})
    assert qtune("render", "house", directory=root).code == 0
    assert rendered(root) == before
    assert f"team@{first[:10]}" in qtune("presets", directory=root).out

    pulled = qtune("presets", "pull", directory=root)
    assert pulled.out == (
        f"team: main is {second[:10]}, was {first[:10]}; changed: presets/house.yaml, presets/new.yaml\n"
    )
    assert "commit qtune.lock" in pulled.err
    assert "as before" in qtune("presets", "pull", directory=root).out
    table = qtune("presets", directory=root).out
    assert f"team@{second[:10]}" in table and f"team@{first[:10]}" not in table
    rows = {row["name"]: row for row in json.loads(qtune("presets", "--json", directory=root).out)}
    assert (rows["house"]["source"], rows["house"]["commit"]) == ("team", second)
    assert (rows["lora"]["source"], rows["lora"]["commit"]) == ("qtune", None)
    assert qtune("render", "house", directory=root).code == 0
    assert b"lora_rank: 9 " in rendered(root)["train.yaml"]


def test_the_lock_is_the_same_on_every_machine_and_names_no_path_of_this_one(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = with_sources("b: git+../upstream@main#presets", "a: git+../upstream@HEAD#presets")
    qtune("presets", "pull", directory=root)
    text = (root / "qtune.lock").read_text()
    assert str(tmp_path) not in text and text.index("\na:") < text.index("\nb:")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    qtune("presets", "pull", directory=root)
    assert (root / "qtune.lock").read_text() == text
    assert qtune("render", "house", directory=root).code == 0
    assert not any(str(tmp_path / "elsewhere").encode() in text for text in rendered(root).values())


def test_a_branch_a_tag_and_a_whole_commit_are_fetched(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    first = git(upstream, "rev-parse", "HEAD")
    git(upstream, "tag", "--annotate", "v1.0", "--message", "first")
    git(upstream, "checkout", "--quiet", "-b", "feature/ranks")
    second = commit(upstream, {"presets/house.yaml": HOUSE.replace("7", "8")})
    refs = {"tag": "v1.0", "whole": first, "branch": "feature/ranks", "head": "HEAD"}
    root = with_sources(*(f"{name}: git+file://{upstream}@{ref}#presets" for name, ref in refs.items()))
    assert qtune("presets", "pull", directory=root).code == 0
    pins = find_project(root).pins
    assert {name: pin.commit for name, pin in pins.items()} == {
        "tag": first,
        "whole": first,
        "branch": second,
        "head": second,
    }


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("git+../upstream@nowhere#presets", "couldn't find remote ref nowhere"),
        ("git+../nowhere@main", "does not appear to be a git repository"),
        ("git+../upstream@main#nowhere", "/nowhere: is no directory there"),
        ("git+../upstream@main", "holds no presets"),
        ("git+../upstream@main#presets/house.yaml", "is no directory there"),
    ],
)
def test_what_cannot_be_fetched_pins_nothing(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path, entry: str, says: str
) -> None:
    root = with_sources(TEAM, f"other: {entry}")
    refused(qtune("presets", "pull", directory=root), says)
    assert not (root / "qtune.lock").exists()
    assert [path.name for path in (root.parent / "cache" / "qtune").glob(".pull-*")] == []


def test_a_failed_pull_leaves_the_lock_as_it_was(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    text = (root / "qtune.lock").read_text()
    commit(upstream, {"presets/house.yaml": "a: [\n"})
    refused(qtune("presets", "pull", directory=root), "/presets/house.yaml:1", "broken YAML")
    assert (root / "qtune.lock").read_text() == text
    assert qtune("render", "house", directory=root).code == 0


def _no_lock(root: Path, cached: Path) -> None:
    (root / "qtune.lock").unlink()


def _another_ref(root: Path, cached: Path) -> None:
    path = root / "qtune.yaml"
    path.write_text(path.read_text().replace("@main", "@v2"))


def _no_cache(root: Path, cached: Path) -> None:
    shutil.rmtree(cached.parents[1])


def _changed_cache(root: Path, cached: Path) -> None:
    (cached / "presets" / "house.yaml").write_text("train: {lora_rank: 1}\n")


def _more_cache(root: Path, cached: Path) -> None:
    (cached / "presets" / "lora.yaml").write_text("train: {lora_rank: 1}\n")


def _linked_cache(root: Path, cached: Path) -> None:
    house = cached / "presets" / "house.yaml"
    house.rename(cached.parent / "moved")
    house.symlink_to(cached.parent / "moved")


def _torn_lock(root: Path, cached: Path) -> None:
    (root / "qtune.lock").write_text("<<<<<<< ours\nteam: {}\n")


def _lock_that_leads_out(root: Path, cached: Path) -> None:
    path = root / "qtune.lock"
    path.write_text(path.read_text().replace("presets/house.yaml", "../../house.yaml"))


def _another_commit(root: Path, cached: Path) -> None:
    path = root / "qtune.lock"
    path.write_text(re.sub("commit: .{10}", "commit: 0123456789", path.read_text()))


def _no_commit(root: Path, cached: Path) -> None:
    path = root / "qtune.lock"
    path.write_text(path.read_text().replace("commit: ", "commit: 0"))


@pytest.mark.parametrize(
    ("disturb", "says"),
    [
        (_another_commit, "the cache on this machine lacks commit 0123456789 of `team`"),
        (_no_commit, "qtune.lock:6: is not what `qtune presets pull` writes"),
        (_no_lock, "qtune.yaml:2: qtune.lock does not pin `team`"),
        (_another_ref, "qtune.yaml:2: qtune.lock pins `team` with ref `main`, and here it is `v2`"),
        (_no_cache, "the cache on this machine lacks commit"),
        (_changed_cache, "the cache and qtune.lock disagree: presets/house.yaml"),
        (_more_cache, "the cache and qtune.lock disagree: presets/lora.yaml"),
        (_linked_cache, "the cache and qtune.lock disagree: presets/house.yaml"),
        (_torn_lock, "qtune.lock:2: broken YAML"),
        (_lock_that_leads_out, "is not what `qtune presets pull` writes"),
    ],
)
def test_a_render_says_where_lock_and_cache_disagree_and_pulling_mends_it(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    disturb: Callable[[Path, Path], None],
    says: str,
) -> None:
    git(upstream, "tag", "v2")
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    pin = find_project(root).pins["team"]
    disturb(root, resources.cache_directory() / pin.directory)
    result = qtune("render", "house", directory=root)
    refused(result, says)
    assert not (root / "rendered").exists()
    if disturb is not _torn_lock:
        assert "`qtune presets pull" in result.err
    assert qtune("presets", "pull", directory=root).code == 0
    assert qtune("render", "house", directory=root).code == 0


def test_a_colleague_gets_what_is_pinned_and_not_what_is_new(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    text = (root / "qtune.lock").read_text()
    commit(upstream, {"presets/house.yaml": HOUSE.replace("7", "9")})
    shutil.rmtree(resources.cache_directory())
    assert qtune("presets", "pull", "--locked", directory=root).code == 0
    assert (root / "qtune.lock").read_text() == text
    assert qtune("show", "house", directory=root).out.count("lora_rank: 7\n") == 1
    shutil.rmtree(upstream)
    assert "as before" in qtune("presets", "pull", "--locked", directory=root).out  # nothing to fetch
    (root / "qtune.lock").unlink()
    refused(qtune("presets", "pull", "--locked", directory=root), "does not pin `team`")


def test_a_lock_with_other_files_than_its_commit_is_refused(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    path = root / "qtune.lock"
    path.write_text(path.read_text()[:-65] + "a" * 64 + "\n")
    refused(qtune("presets", "pull", "--locked", directory=root), "holds other files than qtune.lock pins")
    _another_commit(root, root)
    refused(qtune("presets", "pull", "--locked", directory=root), "qtune.yaml:2: `team` cannot be fetched")


def test_after_a_pull_nothing_needs_git_or_the_network(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    shutil.rmtree(upstream)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for command in (["render", "house"], ["check", "house"], ["show", "house"], ["presets"]):
        assert qtune(*command, directory=root).code == 0
    refused(qtune("presets", "pull", directory=root), "`git` is not installed here")


def test_pulling_asks_nobody_and_runs_no_hook(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = write_tree(tmp_path / "hooks", {"reference-transaction": f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    (hooks / "reference-transaction").chmod(0o755)
    write_tree(tmp_path, {"config": f"[core]\nhooksPath = {hooks}\n[init]\ntemplateDir = {hooks}\n"})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_DIR", str(upstream / ".git"))  # as inside a hook
    root = with_sources(TEAM)
    assert qtune("presets", "pull", directory=root).code == 0
    assert not (tmp_path / "ran").exists()
    assert git(upstream, "rev-parse", "HEAD") in (root / "qtune.lock").read_text()


def test_a_source_without_git_needs_no_lock(
    qtune: Callable[..., Result], with_sources: Callable[..., Path]
) -> None:
    root = with_sources("presets", tree={"qtune.lock": "broken: [", "presets/house.yaml": HOUSE})
    assert qtune("render", "house", directory=root).code == 0
    refused(qtune("presets", "pull", directory=root), "there is no git source to pull")


def test_directories_are_read_in_place_and_shown_as_written(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for place in ("near", "home/at-home", "far"):
        write_tree(tmp_path / place, {f"{Path(place).name}.yaml": HOUSE})
    root = with_sources("../near", "~/at-home", str(tmp_path / "far"))
    shown = {"near": "../near", "at-home": "~/at-home", "far": str(tmp_path / "far")}
    for name, place in shown.items():
        assert qtune("render", name, directory=root).code == 0
        assert f"# {name} ({place}/{name}.yaml:3)" in (root / "rendered" / name / "train.yaml").read_text()
    assert qtune("render", "near/near", directory=root).out.startswith("rendered/near-near/train.yaml")
    (tmp_path / "near" / "near.yaml").write_text(HOUSE.replace("7", "9"))
    assert "lora_rank: 9\n" in qtune("show", "near", directory=root).out
    assert not (root / "qtune.lock").exists()


def test_the_first_source_wins_and_the_others_are_reached_by_their_source(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    commit(upstream, {"presets/lora.yaml": "extends: qtune/lora\ntrain: {lora_rank: 2}\n"})
    root = with_sources(
        "presets",
        TEAM,
        tree={"presets/lora.yaml": "extends: team/lora\ntrain: {lora_dropout: 0.5}\n"},
    )
    qtune("presets", "pull", directory=root)

    def values(preset: str) -> tuple[Any, ...]:
        train = json.loads(qtune("show", preset, "--json", directory=root).out)["train"]
        return train["lora_rank"], train.get("lora_dropout")

    assert values("lora") == (2, 0.5)
    assert values("team/lora")[0] == 2 and values("qtune/lora")[0] == 64
    assert values("presets/lora") == values("lora")
    listed = qtune("presets", directory=root)
    assert "reached as: team/lora, qtune/lora" in listed.err
    assert qtune("render", "team/lora", directory=root).out.startswith("rendered/team-lora/train.yaml")
    origin = qtune("show", "team/lora", "--origin", directory=root).out
    assert "lora_rank: 2  # team/lora (team@" in origin
    assert qtune("diff", "team/lora", "qtune/lora", directory=root).code == 0
    refused(qtune("show", "taem/lora", directory=root), "no source `taem`", "`team`")
    refused(qtune("show", "team/lroa", directory=root), "no preset `team/lroa`", "`lora`")


def test_a_preset_that_extends_its_own_name_hears_of_the_shadowed_one(
    qtune: Callable[..., Result], with_sources: Callable[..., Path]
) -> None:
    root = with_sources("presets", tree={"presets/lora.yaml": "extends: lora\n"})
    refused(qtune("show", "lora", directory=root), "lora → lora", "or extend `qtune/lora`")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["presets", "../upstream/presets"], "qtune.yaml:3: the source's name `presets` is another source's"),
        (["qtune: presets"], "the source's name `qtune` is the built-in presets'"),
        (["a b: presets"], "'a b' is not a source's name"),
        (["../x/y: presets"], "'../x/y' is not a source's name"),
        (["git+../upstream@main", "git+file:///x/upstream.git@v1"], "name `upstream` is another source's"),
        (["3"], "a source of presets is"),
        (["{a: presets, b: presets}"], "a source of presets is"),
    ],
)
def test_sources_have_names_of_their_own(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    entries: list[str],
    says: str,
) -> None:
    refused(qtune("presets", directory=with_sources(*entries)), says)


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "entry",
    [
        f"git+https://{SECRET}@example.org/x.git@v1",
        f"git+https://user:{SECRET}@example.org/x.git@v1",
        f"git+https://user:{SECRET}@example.org/x.git",
        f"git+https://example.org/x.git?private_token={SECRET}@v1",
        f"git+ssh://git:{SECRET}@example.org/x.git@v1",
        f"git+https://user:a/{SECRET}@example.org/x.git@v1",
        f"git+file://{SECRET}@host/x.git@v1",
        f"https://{SECRET}@example.org/x.git",
        f"git+http://{SECRET}@example.org/x.git@v1",
        f"git+{SECRET}@example.org:x.git@v1",
        f"named: git+https://{SECRET}@example.org/x.git@v1",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], entry: str
) -> None:
    root = with_sources(f'"{entry}"' if not entry.startswith("named") else entry)
    for command in (["presets", "pull"], ["presets"]):
        result = qtune(*command, directory=root)
        refused(result, "qtune.yaml:2")
        assert SECRET not in result.err + result.out
    assert not (root / "qtune.lock").exists()


def test_a_password_that_git_knows_appears_nowhere(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rewrite = f'[url "https://user:{SECRET}@127.0.0.1:1/"]\ninsteadOf = https://127.0.0.1:2/\n'
    write_tree(tmp_path, {"config": rewrite})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    result = qtune("presets", "pull", directory=with_sources("git+https://127.0.0.1:2/x.git@v1"))
    refused(result, "`x` cannot be fetched", "127.0.0.1:1")
    assert SECRET not in result.err


@pytest.mark.parametrize(
    "entry",
    [
        "git+../upstream@--upload-pack=touch",
        "git+../upstream@-x",
        "git+../upstream@main:refs/heads/x",
        "git+../upstream@+main",
        "git+../upstream@a..b",
        "git+../upstream@main~1",
        "git+../upstream@",
        "git+../upstream",
        "git+ssh://git@example.org/x.git",
        "git+ext::sh -c touch% ran@main",
        "git+ext://sh@main",
        "git+git://example.org/x.git@main",
        "git+ssh://-oProxyCommand=touch/x.git@main",
        "git+https:///x.git@main",
        "git+git@example.org:x.git@main",
        "git+../upstream@main#../presets",
        "git+../upstream@main#/etc",
        "git+../upstream@main#",
        "git+../upstream\\x00@main",
    ],
)
def test_an_address_that_is_none_is_refused_before_git_sees_it(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    monkeypatch: pytest.MonkeyPatch,
    entry: str,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused(qtune("presets", "pull", directory=with_sources(f'team: "{entry}"')), "qtune.yaml:2: ")


def test_an_ssh_address_keeps_its_user(with_sources: Callable[..., Path]) -> None:
    (entry,) = find_project(with_sources("git+ssh://git@example.org:22/team/x.git@v1#a/b")).entries
    assert (entry.name, entry.url, entry.ref, entry.subdir) == (  # type: ignore[union-attr]
        "x",
        "ssh://git@example.org:22/team/x.git",
        "v1",
        "a/b",
    )


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"presets/x.yaml": "train: !!python/object/apply:os.system [id]\n"}, "tag:yaml.org,2002:python"),
        ({"presets/x.yaml": "train: " + "[" * 500 + "]" * 500 + "\n"}, "nested deeper"),
        ({"presets/x.yaml": BOMB}, "expands to more than"),
        ({"presets/x.yaml": "x" * 1_000_001}, "is larger than 1,000,000 bytes"),
        ({f"presets/x{number}.yaml": "" for number in range(501)}, "more than 500"),
        ({f"presets/x{number}.yaml": f"# {number}\n" + "#" * 999_000 for number in range(11)}, "10,000,000"),
        ({"templates/launch/launch.sh.j2": "id\n"}, "presets from others bring no code"),
        ({"presets/templates/launch/x.sh.j2": "id\n"}, "presets from others bring no code"),
        ({"templates/1/2/3/4/5/6/7/8/9/x.j2": ""}, "8 levels"),
        ({"templates/x.j2": "x" * 1_000_001}, "is larger than 1,000,000 bytes"),
    ],
    ids=["tag", "deep", "aliases", "large", "many", "much", "script", "script inside", "levels", "template"],
)
def test_a_hostile_source_is_refused_in_one_line(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    tree: dict[str, str],
    says: str,
) -> None:
    commit(upstream, tree)
    root = with_sources(TEAM)
    refused(qtune("presets", "pull", directory=root), says, "team@")
    assert not (root / "qtune.lock").exists()


@pytest.mark.parametrize(
    ("link", "target", "says"),
    [
        ("presets/x.yaml", "/etc/passwd", "presets/x.yaml: is a symbolic link"),
        ("presets/x.yaml", "house.yaml", "presets/x.yaml: is a symbolic link"),
        ("templates", "../..", "templates: is a symbolic link"),
        ("templates/train.yaml.j2", "/etc/passwd", "train.yaml.j2: is a symbolic link"),
        ("elsewhere", "presets", "elsewhere: is a symbolic link"),
    ],
)
def test_a_link_in_a_repository_is_not_followed(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    link: str,
    target: str,
    says: str,
) -> None:
    (upstream / link).parent.mkdir(exist_ok=True)
    (upstream / link).symlink_to(target)
    commit(upstream)
    subdir = link if link == "elsewhere" else "presets"
    root = with_sources(f"team: git+../upstream@main#{subdir}")
    refused(qtune("presets", "pull", directory=root), says)


def test_a_link_that_nothing_needs_is_no_matter(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    (upstream / "README.md").symlink_to("/etc/passwd")
    commit(upstream)
    assert qtune("presets", "pull", directory=with_sources(TEAM)).code == 0


def test_a_file_of_2_mb_is_refused(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    git(upstream, "config", "core.bigFileThreshold", "1m")
    with (upstream / "presets" / "x.yaml").open("wb") as stream:
        stream.truncate(2_000_000)
    commit(upstream)
    refused(qtune("presets", "pull", directory=with_sources(TEAM)), "is larger than 1,000,000 bytes")


def test_a_repository_too_large_to_fetch_is_refused(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(git_module, "MAX_FETCH", 1_000_000)
    (upstream / "weights.bin").write_bytes(os.urandom(2_000_000))
    commit(upstream)
    refused(qtune("presets", "pull", directory=with_sources(TEAM)), "`team` is larger than 1,000,000 bytes")
    assert files_below(resources.cache_directory()) == set()


def _tree(repository: Path, *entries: tuple[str, str, str]) -> str:
    """A tree object with names that no git command would put into one."""
    raw = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(item) for mode, name, item in entries)
    return git(repository, "hash-object", "-w", "-t", "tree", "--stdin", "--literally", given=raw)


@pytest.mark.parametrize("name", ["..", "../../x"])
def test_names_in_a_tree_cannot_lead_out(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    tmp_path: Path,
    name: str,
) -> None:
    blob = git(upstream, "hash-object", "-w", "--stdin", given=b"owned")
    inner = _tree(upstream, ("100644", "x.j2", blob))
    presets = git(upstream, "rev-parse", "HEAD:presets")
    below = _tree(upstream, ("40000", name, inner))
    top = _tree(upstream, ("40000", "presets", presets), ("40000", "templates", below))
    git(upstream, "update-ref", "refs/heads/odd", git(upstream, "commit-tree", top, "-m", "odd"))
    root = with_sources("team: git+../upstream@odd#presets")
    refused(qtune("presets", "pull", directory=root), "leads elsewhere")
    assert not list(tmp_path.rglob("x.j2"))


def test_a_tree_that_contains_itself_a_billion_times_is_refused(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    blob = git(upstream, "hash-object", "-w", "--stdin", given=b"")
    tree = _tree(upstream, *(("100644", f"{number}.j2", blob) for number in range(10)))
    for _ in range(10):
        tree = _tree(upstream, *(("40000", str(number), tree) for number in range(10)))
    presets = git(upstream, "rev-parse", "HEAD:presets")
    top = _tree(upstream, ("40000", "presets", presets), ("40000", "templates", tree))
    git(upstream, "update-ref", "refs/heads/odd", git(upstream, "commit-tree", top, "-m", "odd"))
    root = with_sources("team: git+../upstream@odd#presets")
    refused(qtune("presets", "pull", directory=root), "8 levels")


def test_a_link_out_of_a_directory_source_is_refused(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], tmp_path: Path
) -> None:
    write_tree(tmp_path / "shared", {"presets/good.yaml": HOUSE, "outside.yaml": HOUSE})
    (tmp_path / "shared/presets/bad.yaml").symlink_to("../outside.yaml")
    (tmp_path / "shared/presets/same.yaml").symlink_to("good.yaml")
    root = with_sources("../shared/presets")
    refused(qtune("show", "bad", directory=root), "../shared/presets/bad.yaml: is a symbolic link")
    assert qtune("show", "same", directory=root).code == 0


def test_a_preset_from_others_cannot_have_a_models_code_run(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path, tmp_path: Path
) -> None:
    house = HOUSE.replace("lora_rank: 7", "trust_remote_code: true")
    commit(upstream, {"presets/house.yaml": house})
    write_tree(tmp_path / "near", {"near.yaml": house})
    root = with_sources(TEAM, "../near", "presets", tree={"presets/ours.yaml": house})
    qtune("presets", "pull", directory=root)
    refused(qtune("render", "house", directory=root), "/presets/house.yaml:3: `trust_remote_code`")
    refused(qtune("render", "near", directory=root), "../near/near.yaml:3: `trust_remote_code`")
    assert qtune("show", "ours", directory=root).code == 0


def test_what_lies_beside_the_project_is_no_template_of_it(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], tmp_path: Path
) -> None:
    write_tree(tmp_path, {"templates/train.yaml.j2": "not ours"})
    assert qtune("render", "lora", directory=with_sources("here: .")).code == 0


def test_a_source_brings_templates_and_the_first_one_wins(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path, tmp_path: Path
) -> None:
    commit(upstream, {"templates/train.yaml.j2": "# of the team\n" + TRAIN_TEMPLATE})
    write_tree(
        tmp_path / "near",
        {
            "templates/train.yaml.j2": "# near\n" + TRAIN_TEMPLATE,
            "templates/dataset_info.json.j2": "{{ datasets | to_json }}\n\n",
            "near.yaml": HOUSE,
        },
    )
    root = with_sources(TEAM, "../near")
    qtune("presets", "pull", directory=root)
    assert qtune("render", "lora", directory=root).code == 0
    files = rendered(root, "lora")
    assert files["train.yaml"].startswith(b"# of the team\n")
    assert files["dataset_info.json"].endswith(b"}\n\n")
    pin = find_project(root).pins["team"]
    layers = {layer["file"]: layer["sha256"] for layer in json.loads(files["qtune.json"])["layers"]}
    assert layers[f"team@{pin.short}/templates/train.yaml.j2"] == pin.files["templates/train.yaml.j2"]
    assert "../near/templates/dataset_info.json.j2" in layers
    assert "qtune/templates/launch/launch.sh.j2" in layers


def test_a_pull_makes_what_was_rendered_from_it_stale(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:

    commit(upstream, {"templates/train.yaml.j2": TRAIN_TEMPLATE + "\n"})
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    qtune("render", "house", directory=root)
    first = find_project(root).pins["team"]
    shutil.rmtree(resources.cache_directory())  # which a look at the lock does not need

    def stale() -> list[str]:
        project = find_project(root)
        return renderings.stale_layers(renderings.read(project, "house"))

    assert stale() == []
    commit(upstream, {"templates/train.yaml.j2": TRAIN_TEMPLATE + "\n\n"})
    qtune("presets", "pull", directory=root)
    assert stale() == [f"team@{first.short}/templates/train.yaml.j2"]


def test_a_script_comes_only_from_the_project_itself(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], tmp_path: Path
) -> None:
    script = LAUNCH_TEMPLATE + "{% include 'more.j2' %}\n"
    write_tree(tmp_path / "shared", {"presets/house.yaml": HOUSE, "templates/more.j2": "id"})
    own = {"templates/launch/launch.sh.j2": script, "presets/x.yaml": HOUSE, "templates/more.j2": "# ours"}
    root = with_sources("shared: ../shared/presets", "presets", tree=own)
    assert qtune("render", "lora", directory=root).code == 0
    assert rendered(root, "lora")["launch.sh"].endswith(b"# ours")
    write_tree(tmp_path / "shared", {"templates/launch/launch.sh.j2": "id"})
    refused(
        qtune("render", "lora", directory=root),
        "../shared/templates/launch/launch.sh.j2: is the template of a script",
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ name.__class__.__mro__ }}", "unsafe"),
        ("{{ sections.__init__.__globals__ }}", "unsafe"),
        ("{{ hardware.__class__.__base__.__subclasses__() }}", "unsafe"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "seconds"),
        (
            "{% macro m(n) %}{% if n %}{{ m(n-1) ~ m(n-1) }}{% endif %}{% endmacro %}{{ m(99) }}",
            "seconds",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
        ("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "1,000,000 characters"),
        ("{{ 'x' * 99999999999 }}", "256 MB"),
        ("{{ '%99999999999d' | format(1) }}", "256 MB"),
        ("{{ '{:>9999999999}'.format(1) }}", "256 MB"),
        ("{{ 9 ** 9 ** 9 ** 9 }}", "no use for powers"),
        ("{{ 1.5 | round(999999999) }}", "broken template"),
        (
            "{% set n = namespace(x=9) %}{% for a in range(99) %}{% set n.x = n.x*n.x %}{% endfor %}",
            "large",
        ),
        ("{% set n = namespace(x='x') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}", "MB"),
        ("{{ lipsum(n=999999999) }}", "undefined"),
        ("{{ [1, 2] | random }}", "broken template"),
        ("{% include '../presets/house.yaml' %}", "fails"),
        ("{% include '/etc/passwd' %}", "there is no template `/etc/passwd`"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "fails"),
        ("{% set x = 1 %}[", "broken YAML"),
    ],
)
def test_a_hostile_template_is_refused_in_one_line(
    qtune: Callable[..., Result],
    with_sources: Callable[..., Path],
    upstream: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    says: str,
) -> None:
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 0.1 if says == "seconds" else 1.0)
    commit(upstream, {"templates/train.yaml.j2": text})
    root = with_sources(TEAM)
    qtune("presets", "pull", directory=root)
    refused(qtune("render", "lora", directory=root), says, "/templates/train.yaml.j2")
    assert not (root / "rendered").exists()


@pytest.mark.parametrize("text", ["[]", "[" * 100_000, "7", '{"a": '])
def test_a_template_of_json_makes_an_object(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], tmp_path: Path, text: str
) -> None:
    write_tree(tmp_path / "near", {"x.yaml": HOUSE, "templates/zero.json.j2": text})
    root = with_sources("../near")
    refused(qtune("render", "stage3", directory=root), "the template makes no JSON", "../near/templates/zero")


def test_what_bounds_a_template_is_taken_off_again(tmp_path: Path) -> None:
    import resource
    import signal

    before = resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(QtuneError):
        templates.Templates((), tmp_path).text("nowhere.j2", {})
    assert (resource.getrlimit(resource.RLIMIT_AS), signal.getsignal(signal.SIGVTALRM)) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_a_killed_pull_left_is_gone_after_the_next_and_a_living_one_keeps_its_own(
    qtune: Callable[..., Result], with_sources: Callable[..., Path], upstream: Path
) -> None:
    cache = resources.cache_directory()
    write_tree(cache, {".pull-left/git/HEAD": "x", ".pull-living/git/HEAD": "x"})
    living = os.open(cache / ".pull-living", os.O_RDONLY)
    fcntl.flock(living, fcntl.LOCK_EX)
    try:
        assert qtune("presets", "pull", directory=with_sources(TEAM)).code == 0
    finally:
        os.close(living)
    assert [path.name for path in cache.glob(".pull-*")] == [".pull-living"]
    with workplace(cache) as mine, workplace(cache) as other:
        assert mine != other and sorted(cache.glob(".pull-*")) == sorted((mine, other))
    assert not list(cache.glob(".pull-*"))
