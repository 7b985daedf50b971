"""The checks behind each chapter's exercises, one file a chapter; the tools they are made of are in ``teaching``."""
