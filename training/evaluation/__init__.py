"""The comparison of regional models: masked texts, predictions, intervals, results, figures and report."""
