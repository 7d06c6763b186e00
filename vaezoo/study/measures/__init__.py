"""What is measured of a run of a study, by public functions of the library."""
