"""CodeTether: a coding agent where everything is a plugin."""

__version__ = "0.1.5"
