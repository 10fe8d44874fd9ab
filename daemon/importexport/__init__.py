"""The service's API, REST 2010-06-01, from both sides: client and emulator. Knows no drives."""
