"""Pictures to train on: folders, archives and the procedural worlds whose truth is known."""
