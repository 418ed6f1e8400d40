"""What the command ``autoprune`` starts."""

import sys

TRIAL_SERVER = "autoprune.nni.warm_trials"
"""The module that a server of trials runs; this process does not import it, for that takes seconds."""


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word, whatever it was at."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    """Run the command line; a trial by a shorter way, for NNI starts many and waits for each."""
    command, *words = sys.argv[1:] or [""]
    if command == "trial" and words and "--help" not in words:
        from autoprune import engine
        from autoprune.errors import UserError

        try:
            run = engine.chosen(words)
        except UserError as error:
            print(f"autoprune: {error}", file=sys.stderr)
            sys.exit(2)
        status = run(
            words, TRIAL_SERVER
        )  # NNI stops a trial by an interrupt; one elsewhere stops when this process dies
        if status is not None:
            sys.exit(status)
    from autoprune.cli import main

    main()


if __name__ == "__main__":
    main()
