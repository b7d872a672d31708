"""Reads a displayed equation and says what it is worth: in floats, in sympy's symbols and in balls."""
