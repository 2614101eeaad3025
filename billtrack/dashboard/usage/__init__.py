"""Usage: records, filters, the chart, downloads, and the form that records."""
