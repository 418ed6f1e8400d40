"""What every room may use: files, settings checked by type, random streams, fingerprints, text that may be printed."""
