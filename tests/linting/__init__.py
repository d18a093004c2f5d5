"""What is said of calls and servers that are not as they should be."""
