"""seqrec: large sequence models for personalised recommendation."""
