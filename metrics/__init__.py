"""From `(y_true, y_prob)` to metrics, confidence intervals, plots and a report."""
