"""How `make test` spreads the tests over its workers."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

# Files of end-to-end tests with a local AWS of their own, or with none.
OF_THEIR_OWN = {
    "test_demo.py",
    "test_deploy.py",
    "test_deploy_killed.py",
    "test_emitted.py",
    "test_iam.py",
    "test_local.py",
}

# All others share one, in two groups of about the same length: in a row they would take longer
# than all other tests. Where both come to the same worker, there is one local AWS for both.
OF_THE_SECOND = {
    "test_intake.py",
    "test_kills.py",
    "test_queue.py",
    "test_runtime.py",
}


class FilesTogether(LoadScopeScheduling):  # type: ignore[misc] # it ships no types
    """Gives a file to one worker, and all that share a local AWS to one as well.

    In the order in which they were collected: the end-to-end tests, which take longest, are first.
    `--dist loadgroup` would say this with marks, but pytest-xdist 3.8.0 cannot mark the tests of
    pytest 9.2 and then spreads them singly, without a word.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder, _, name = file.rpartition("/")
        if not folder.endswith("tests/e2e") or name in OF_THEIR_OWN:
            return file
        return (
            "the second shared local AWS" if name in OF_THE_SECOND else "the first shared local AWS"
        )
