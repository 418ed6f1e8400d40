"""Packages that only some uses need."""

from importlib.util import find_spec

from autoprune.errors import UserError


def require(module: str, extra: str, what: str) -> None:
    """Check that a package of one of AutoPrune's extras is installed.

    Args:
        module: as it is imported.
        extra: the extra of ``pyproject.toml`` that has it.
        what: what needs it, for the message.

    Raises:
        UserError: it is not.
    """
    if find_spec(module) is None:
        raise UserError(f"{what} needs {module}: pip install 'autoprune[{extra}]'")
