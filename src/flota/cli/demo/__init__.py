"""`flota demo`: the guided first minute, with figures counted by its own clients."""
