"""What the command ``autoprune`` starts."""

import sys


def main() -> None:
    """Run the command line; a trial by a shorter way, for NNI starts many and waits for each."""
    command, *words = sys.argv[1:] or [""]
    if command == "trial" and words and "--help" not in words:
        from autoprune.experiment import warm

        try:
            status = warm.run(words)
        except KeyboardInterrupt:  # NNI stops a trial so; its fork dies with this process
            sys.exit(130)
        if status is not None:
            sys.exit(status)
    from autoprune.cli import main

    main()


if __name__ == "__main__":
    main()
