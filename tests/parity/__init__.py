"""Our numbers beside the peers' own: every module yields rows, a test asserts them, docs/parity.md is printed from them."""
