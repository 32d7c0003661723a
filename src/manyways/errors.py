"""What goes wrong for a reason that the user can mend: each message is one sentence with the value and the remedy."""


class ManywaysError(Exception):
    """Base of the errors whose message is written for the user; the command line prints it and exits with 2."""


class InputError(ManywaysError, ValueError):
    """Something that was given cannot be used: a file, an array, a setting."""


class WriteError(ManywaysError, OSError):
    """A file or folder could not be written; nothing half-written is left in its place."""
