"""The kernel's own words of the command line, one module each, loaded when the word is used."""
