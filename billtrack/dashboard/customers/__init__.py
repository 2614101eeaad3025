"""The customers: their list, with what each owes this month."""
