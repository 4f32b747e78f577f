"""The comparison of regional models: what is asked, what models answer, intervals, results, pictures and report."""
