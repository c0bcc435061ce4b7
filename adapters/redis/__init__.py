"""Redis as the engine's journal, and the embedded server of a bare machine."""
