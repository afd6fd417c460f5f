"""Studies as documents, and where the documents are kept."""
