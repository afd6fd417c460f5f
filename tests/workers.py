"""How `make test` spreads the tests over its workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Files of end-to-end tests with a local AWS of their own, or with none. All others share one.
OF_THEIR_OWN = {
    "test_demo.py",
    "test_deploy.py",
    "test_deploy_killed.py",
    "test_emitted.py",
    "test_iam.py",
    "test_local.py",
}


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc] # it ships no types
    """Gives a file to one worker, and all that share the one local AWS to one as well.

    In the order in which they were collected: the end-to-end tests, which take longest, are first.
    `--dist loadgroup` would say this with marks, but pytest-xdist 3.8.0 cannot mark the tests of
    pytest 9.2 and then spreads them singly, without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder, _, name = file.rpartition("/")
        shares = folder.endswith("tests/e2e") and name not in OF_THEIR_OWN
        return "the shared local AWS" if shares else file
