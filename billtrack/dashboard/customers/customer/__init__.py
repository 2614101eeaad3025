"""One customer: statement, chart, months and reports."""
