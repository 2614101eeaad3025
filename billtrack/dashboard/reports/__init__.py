"""Reports: request, follow and download."""
