"""What ``python -m vgglib`` does: one file for each group of commands; __main__.py reads their options."""
