"""The kinds of file that people have, one file each."""
