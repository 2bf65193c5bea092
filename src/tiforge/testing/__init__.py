"""For plugin authors: contract tests to inherit, and the shared parts of local emulators."""
