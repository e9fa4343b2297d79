"""How fast the project is: each module is a command that measures and prints a ratio last."""
