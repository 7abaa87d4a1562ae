"""The error of a command line or a configuration that is wrong by itself."""


class UsageError(ValueError):
    """What was typed, or stands in a configuration, cannot be run; nothing was started."""
