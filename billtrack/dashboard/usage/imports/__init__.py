"""Usage imports: upload a file, follow its progress, download rejected lines."""
