"""The two errors that AutoPrune raises on purpose."""


class UserError(Exception):
    """Bad input. Its text is one line that says what is wrong and how to mend it; the command line exits with 2."""


class TrialFailure(Exception):
    """A candidate that cannot be carried through (a NaN loss, an emptied layer). Its text is the recorded reason."""
