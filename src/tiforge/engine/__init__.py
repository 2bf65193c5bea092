"""The engine: pull from sources into the log, deliver from the log to sinks, at the same time."""
