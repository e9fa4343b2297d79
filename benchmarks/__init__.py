"""How fast the project is: each module a command that measures and prints a ratio last."""
