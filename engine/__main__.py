"""`python -m engine`: the same as the command `engine`."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["actor"]:
        # A child process: no command line for people, so none of its modules either.
        from engine.cli.actor import main as run_actor

        sys.exit(run_actor(sys.argv[2:]))
    from engine.cli.main import main

    main()
