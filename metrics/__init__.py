"""From true classes and probabilities to figures, plots and a report."""
