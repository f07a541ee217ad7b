"""A fuzzer for everything that LiteFerry reads: `python -m tests.fuzz --help`, and a slice of it in the tests."""
