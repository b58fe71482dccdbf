"""How fast is it? Every figure of speed in the project comes from a program of this folder."""
