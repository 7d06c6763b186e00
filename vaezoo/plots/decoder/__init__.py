"""What a decoder makes of codes, and how wide it is: rows of pictures, and maps of sigma."""
