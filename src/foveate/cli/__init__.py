"""The commands, a module each; every one parses through its signature, calls the package, and prints."""
