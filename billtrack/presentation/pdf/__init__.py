"""PDF: render HTML in processes of their own, with packaged fonts and styles.

Does not know what a document says: `documents` does.
"""
