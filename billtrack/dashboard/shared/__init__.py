"""What several areas of the pages use: the blueprint, fields, forms, periods and ranges of days."""
