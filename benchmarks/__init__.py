"""Speed, robustness and damaged files: commands that measure, most of which print a ratio last."""
