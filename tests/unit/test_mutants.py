"""The list of deliberate bugs keeps up with the code: each finds its place, and each names tests that exist."""

from pathlib import Path

import pytest

from scripts.mutants import ROOT, Bug, Change, Unusable, planted, read_bugs, sources

BUGS = read_bugs()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return sources(ROOT, BUGS)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_still_be_planted(texts, bug):
    assert planted(texts, bug) != texts


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_tests_that_should_notice_it_exist(bug):
    for name in bug.tests:
        path, *parts = name.split("::")
        text = Path(ROOT, path).read_text()
        assert all(f" {part}" in text for part in parts)


def test_a_text_that_stands_nowhere_is_refused(texts):
    with pytest.raises(Unusable, match="found 0 times"):
        planted(texts, Bug("none", (Change("no such text", "x", file=next(iter(texts))),), ()))
