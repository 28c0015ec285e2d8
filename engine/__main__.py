"""`python -m engine`, and the command `engine`."""

import sys

from engine.cli.loading import loading
from engine.cli.pid_one import stay_parent


def main() -> None:
    """The command line for people. Each command imports what it needs: `--help` and
    completion load none of it.
    """
    stay_parent()
    from engine.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    if sys.argv[1:2] == ["actor"]:
        # A child process: no command line for people, so none of its modules either.
        with loading():
            from engine.cli.actor import main as run_actor
        sys.exit(run_actor(sys.argv[2:]))
    main()
